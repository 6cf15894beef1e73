/**
 * A disk that can be written and flushed: each client gets a temporary file, which goes when the client goes.
 *
 * Only what the disk has of its own is written down here. Zeroes are written for it, and a write that must be
 * durable before it is answered (FUA) is followed by a flush.
 */
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NbdError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'

export default definePlugin({
  name: 'example3',
  description: 'a temporary disk for each client: a plugin that can write and flush',
  commandLine: { has: ['close', 'pwrite', 'flush'], lines: ['example3_extra=hello'] },
  params: {
    size: param.size({ default: 100 * 1024 * 1024, doc: 'Size of the disk.' }),
  },
  setup: ({ size }) => ({
    async open() {
      const { handle, remove } = await temporaryFile(size)
      return {
        size,
        read: (offset, length, alloc) => readAll(handle, offset, alloc(length)),
        // `data` is lent, until the promise settles. To use it for longer, copy it.
        write: (offset, data) => writeAll(handle, offset, data),
        // Called when the client wants all writes that were answered to be durable.
        flush: () => handle.datasync(),
        async close() {
          await handle.close()
          await remove()
        },
      }
    },
  }),
})

/** A file of zeroes that takes up no space until it is written to. */
async function temporaryFile(size: number): Promise<{ handle: FileHandle; remove(): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-example3-'))
  const remove = () => rm(directory, { recursive: true, force: true })
  try {
    const handle = await open(join(directory, 'disk'), 'wx+')
    // Most systems let go of the name at once, and of the file when it is closed: so that none is left
    // behind, however the server ends. Others refuse as long as it is open.
    await remove().catch(() => {})
    try {
      await handle.truncate(size)
      return { handle, remove }
    } catch (error) {
      await handle.close()
      throw error
    }
  } catch (error) {
    await remove()
    throw error
  }
}

async function readAll(handle: FileHandle, offset: number, target: Uint8Array): Promise<Uint8Array> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await handle.read(target, done, target.length - done, offset + done)
    if (bytesRead === 0)
      throw new NbdError('EIO', `read ${target.length} at ${offset}: the file ends at ${offset + done}`)
    done += bytesRead
  }
  return target
}

/** A full disk throws ENOSPC here, and that is what the client is told. */
async function writeAll(handle: FileHandle, offset: number, data: Uint8Array): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await handle.write(data, done, data.length - done, offset + done)
    done += bytesWritten
  }
}
