import { fsPath } from '../../api/byte-text.js'
import { unknownBlockSize } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { parseBoolean } from '../../api/parse.js'
import { defineFilter } from '../../api/plugin.js'
import { fileExists } from '../../os/file-system.js'
import { cowDevice } from './cow-device.js'
import { Overlay } from './overlay.js'

/** Keeps changes to a disk aside (nbdkit-cow-filter(1)). */
export default defineFilter({
  name: 'cow',
  description: 'lets clients write, and keeps what they write aside',
  params: {
    blockSize: param.size({
      default: 64 * 1024,
      keys: ['cow-block-size'],
      doc: 'The unit in which changes are kept.',
    }),
    onCache: param.boolean({
      default: false,
      keys: ['cow-on-cache'],
      doc: 'Whether data that a client asks to cache is kept, too.',
    }),
    onRead: param.string({
      default: 'false',
      keys: ['cow-on-read'],
      doc: 'Whether data that a client reads is kept, too; a path: while there is such a file.',
    }),
  },
  setup({ blockSize, onCache, onRead }) {
    if (!(Number.isInteger(Math.log2(blockSize)) && blockSize >= 4096 && blockSize <= 2 ** 31))
      throw new ConfigError(`cow: cow-block-size=${blockSize}: expected a power of two from 4K to 2G`)
    const keepsReads = keeper(onRead)
    const overlays = new Map<string, Overlay>()
    const overlayOf = (name: string, size: number): Overlay => {
      const overlay = overlays.get(name) ?? new Overlay(size, blockSize)
      overlays.set(name, overlay)
      overlay.fit(size)
      return overlay
    }
    return {
      async open(request, next) {
        const device = await next({ ...request, readOnly: true })
        const overlay = overlayOf(request.exportName, device.size)
        const { minimum, preferred, maximum } = device.blockSize
        return {
          ...cowDevice(device, overlay, { keepsReads, keepsCached: onCache }),
          blockSize:
            device.blockSize === unknownBlockSize
              ? { minimum: 1, preferred: blockSize, maximum: 2 ** 32 - 1 }
              : { minimum, preferred: Math.min(maximum, Math.max(preferred, blockSize)), maximum },
        }
      },
      close() {
        for (const overlay of overlays.values()) overlay.close()
      },
    }
  },
})

/** @throws ConfigError where the value is neither a boolean nor a path. */
function keeper(value: string): () => boolean | Promise<boolean> {
  if (value.startsWith('/')) return () => fileExists(fsPath(value))
  try {
    const keeps = parseBoolean(value)
    return () => keeps
  } catch {
    throw new ConfigError(`cow: cow-on-read=${value}: expected true, false, or a path that begins with /`)
  }
}
