import {
  type Alloc,
  type BlockSize,
  type Data,
  type Device,
  dataLength,
  unknownBlockSize,
} from '../../api/device.js'
import { ConfigError, NbdError } from '../../api/errors.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { inPieces } from '../../api/turns.js'
import { isZeroes } from '../../api/zeroes.js'
import { alignExtents } from '../../lib/align-extents.js'
import { copierOf } from '../../lib/data-copier.js'
import { slice } from '../../lib/slice.js'

/** Swaps the bytes of each word (nbdkit-swab-filter(1)). */
export default defineFilter({
  name: 'swab',
  description: 'swaps the bytes of each 16, 32 or 64-bit word',
  params: {
    bits: param.int({ default: 16, keys: ['swab-bits'], doc: 'Size of a word: 8, 16, 32 or 64 bits.' }),
  },
  threads: 'isolated',
  setup({ bits }) {
    if (![8, 16, 32, 64].includes(bits))
      throw new ConfigError(`swab: swab-bits=${bits}: expected 8, 16, 32 or 64`)
    const wordBytes = bits / 8
    return {
      async open(request, next) {
        const below = await next(request)
        const device = slice(below, { offset: 0, size: below.size - (below.size % wordBytes) })
        const checked = (offset: number, length: number) => {
          if (offset % wordBytes !== 0 || length % wordBytes !== 0)
            throw new NbdError('EINVAL', `swab: requests must be aligned to ${wordBytes} bytes`)
        }
        return {
          ...device,
          blockSize: blockSizeOf(device, wordBytes),
          read(offset, length, alloc) {
            checked(offset, length)
            return andThen(device.read(offset, length, alloc), (data) => swapped(data, wordBytes, alloc))
          },
          write(offset, data, flags) {
            checked(offset, data.length)
            const words = swapped(data, wordBytes, (length) => new Uint8Array(length))
            return andThen(words, (bytes) => device.write(offset, bytes, flags))
          },
          // The data of a write must pass through this filter.
          window: () => undefined,
          extents: alignExtents(device.extents, wordBytes),
        }
      },
    }
  },
})

function blockSizeOf({ blockSize }: Device, wordBytes: number): BlockSize {
  if (blockSize === unknownBlockSize) return { minimum: wordBytes, preferred: 512, maximum: 0xffffffff }
  return { ...blockSize, minimum: Math.max(blockSize.minimum, wordBytes) }
}

const pieceBytes = 64 * 1024

/**
 * Swaps into new memory, because bytes that a device returns or a client writes are borrowed. Zeroes stay
 * holes.
 */
function swapped<T extends Data>(data: T, wordBytes: number, alloc: Alloc): MaybePromise<T | Uint8Array> {
  const parts: readonly Uint8Array[] = data instanceof Uint8Array ? [data] : data
  if (wordBytes === 1 || parts.every(isZeroes)) return data
  const words = alloc(dataLength(data), 'uninitialized')
  const fill = copierOf(parts)
  const done = inPieces(0, words.length, pieceBytes, (offset, length) => {
    const piece = Buffer.from(words.buffer, words.byteOffset + offset, length)
    fill(piece)
    if (wordBytes === 2) piece.swap16()
    else if (wordBytes === 4) piece.swap32()
    else piece.swap64()
  })
  return andThen(done, () => words)
}
