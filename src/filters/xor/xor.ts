import { type Alloc, type Data, dataLength } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { inPieces } from '../../api/turns.js'
import { type Mask, repeating, scattered } from './pattern.js'

/** Combines all data with a pattern (nbdkit-xor-filter(1)). */
export default defineFilter({
  name: 'xor',
  description: 'combines all data with a pattern, by exclusive or',
  params: {
    xor: param.string({ required: true, doc: 'A number, with xorlen; or `rand`, or `rand:SEED`.' }),
    length: param.int({ min: 1, max: 8, keys: ['xorlen'], doc: 'The bytes of the number that repeat.' }),
  },
  threads: 'isolated',
  setup({ xor, length }) {
    const mask = maskOf(xor, length)
    return {
      async open(request, next) {
        const device = await next(request)
        const { can } = device
        const write: typeof device.write = (offset, data, flags) =>
          andThen(combined(data, offset, mask), (bytes) => device.write(offset, bytes, flags))
        return {
          ...device,
          // Holes of the disk below do not read as zeroes here.
          can: { ...can, extents: false, zero: can.write ? 'emulate' : 'none', fastZero: false },
          read: (offset, length, alloc) =>
            andThen(device.read(offset, length, alloc), (data) => combined(data, offset, mask, alloc)),
          write,
          // The data of a write must pass through this filter.
          window: () => undefined,
          trim: (offset, length, flags) =>
            inPieces(offset, length, pieceBytes, (at, bytes) => write(at, new Uint8Array(bytes), flags)),
        }
      },
    }
  },
})

/** @throws ConfigError where the value is no pattern. */
function maskOf(text: string, length: number | undefined): Mask {
  const [, seed] = /^rand(?::(.*))?$/s.exec(text) ?? [undefined, undefined]
  if (text === 'rand' || seed !== undefined) {
    if (length !== undefined)
      throw new ConfigError('xor: xorlen is for a number: with xor=rand, leave it out')
    return scattered(number(seed ?? '0', `xor=${text}`))
  }
  const value = number(text, `xor=${text}`)
  if (length === undefined)
    throw new ConfigError(`xor: xor=${text} needs xorlen: how many bytes of the number repeat, 1 to 8`)
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return repeating(bytes.subarray(8 - length))
}

/** A number of 64 bits as in C: 0x begins a hexadecimal one, 0 an octal one. */
function number(text: string, what: string): bigint {
  const octal = /^0[0-7]+$/.test(text) ? `0o${text.slice(1)}` : text
  const value = /^(0x[\da-f]+|0o[0-7]+|\d+)$/i.test(octal) ? BigInt(octal) : -1n
  if (value < 0n || value >= 2n ** 64n)
    throw new ConfigError(`xor: ${what}: expected a number from 0 to 2^64 - 1, rand, or rand:SEED`)
  return value
}

const pieceBytes = 64 * 1024

/** Combines into new memory, because bytes that a device returns or a client writes are borrowed. */
function combined(data: Data, offset: number, mask: Mask, alloc?: Alloc): MaybePromise<Uint8Array> {
  const length = dataLength(data)
  const bytes = alloc?.(length, 'uninitialized') ?? new Uint8Array(length)
  let at = 0
  for (const part of [data].flat() as Uint8Array[]) {
    bytes.set(part, at)
    at += part.length
  }
  const done = inPieces(0, length, pieceBytes, (from, count) =>
    mask(bytes.subarray(from, from + count), offset + from),
  )
  return andThen(done, () => bytes)
}
