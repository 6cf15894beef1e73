import { type Alloc, type Data, dataLength } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { inPieces } from '../../api/turns.js'
import { parseBigInteger } from '../../lib/big-integer.js'
import { copierOf } from '../../lib/data-copier.js'
import { applyKey, type Key, keyBytesMax, randomKey, repeatedKey } from './key.js'

/** Combines every byte with a key by exclusive or (nbdkit-xor-filter(1)). */
export default defineFilter({
  name: 'xor',
  description: 'combines every byte of a disk with a key, by exclusive or',
  params: {
    key: param.string({
      required: true,
      keys: ['xor'],
      doc: 'The key: an integer, or rand[:SEED] for pseudo-random bytes.',
    }),
    length: param.int({
      min: 1,
      max: 8,
      keys: ['xorlen'],
      doc: 'The number of bytes of the integer, 1 to 8.',
    }),
  },
  threads: 'isolated',
  setup({ key: text, length }) {
    const key = keyOf(text, length)
    return {
      async open(request, next) {
        const device = await next(request)
        const newAlloc: Alloc = (bytes) => new Uint8Array(bytes)
        const write: typeof device.write = (offset, data, flags) =>
          andThen(combined(key, offset, data, newAlloc), (bytes) => device.write(offset, bytes, flags))
        const pieceBytes = Math.min(zeroBytes.length, device.blockSize.maximum)
        return {
          ...device,
          // Holes below do not read as zeroes above, and zeroes above are no zeroes below.
          can: { ...device.can, extents: false, zero: 'emulate', fastZero: true },
          read: (offset, bytes, alloc) =>
            andThen(device.read(offset, bytes, alloc), (data) => combined(key, offset, data, alloc)),
          write,
          // A hole below would read as the key.
          trim: (offset, bytes, flags) =>
            inPieces(offset, bytes, pieceBytes, (at, piece) =>
              write(at, zeroBytes.subarray(0, piece), flags),
            ),
        }
      },
    }
  },
})

const zeroBytes = new Uint8Array(64 * 1024)

/** Combines into new memory, because bytes that a device returns or a client writes are borrowed. */
function combined(key: Key, offset: number, data: Data, alloc: Alloc): MaybePromise<Uint8Array> {
  const target = alloc(dataLength(data), 'uninitialized')
  const copyNext = copierOf(data)
  const done = inPieces(0, target.length, keyBytesMax, (at, length) => {
    const piece = target.subarray(at, at + length)
    copyNext(piece)
    applyKey(piece, key.bytesAt(offset + at, length, piece.byteOffset))
  })
  return andThen(done, () => target)
}

function keyOf(text: string, length: number | undefined): Key {
  const [, seed] = /^rand(?::(.*))?$/s.exec(text) ?? []
  if (text === 'rand' || seed !== undefined) {
    if (length !== undefined)
      throw new ConfigError(`xor: xorlen=${length}: leave it out with xor=rand, whose bytes do not repeat`)
    return randomKey(seed === undefined ? 0n : unsigned64(seed, text))
  }
  if (length === undefined) throw new ConfigError('xor: xorlen=N is required: the number of bytes, 1 to 8')
  return repeatedKey(unsigned64(text, text), length)
}

function unsigned64(digits: string, text: string): bigint {
  const wrong = (why: string) => new ConfigError(`xor: xor=${text}: ${why}`)
  const value = parseBigInteger(digits)
  if (value === undefined) throw wrong('expected an integer such as 0x123456, or rand, or rand:SEED')
  if (value >= 2n ** 64n) throw wrong('expected an integer of 64 bits at most')
  return value
}
