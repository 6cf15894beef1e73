import { mix } from '../../lib/mix.js'

/** The longest range that `bytesAt` is asked for, in bytes. */
export const keyBytesMax = 16 * 1024

/** The bytes with which the bytes of a disk are combined. They depend only on the offset. */
export interface Key {
  /**
   * Returns the bytes for a range of up to `keyBytesMax` bytes. They hold until the next call. Where it can,
   * the key makes the view begin at an address that is `alignment` modulo 4.
   */
  bytesAt(offset: number, length: number, alignment: number): Uint8Array
}

/**
 * A value repeated from offset 0 on: the last `length` bytes of its big-endian form, with zeroes in front
 * where it is shorter.
 */
export function repeatedKey(value: bigint, length: number): Key {
  const shift = (index: number) => BigInt(8 * (length - 1 - index))
  const unit = Uint8Array.from({ length }, (_, index) => Number((value >> shift(index)) & 0xffn))
  // One table for each alignment.
  const tables = [0, 1, 2, 3].map((start) => {
    const table = new Uint8Array(start + keyBytesMax + length).subarray(start)
    for (let at = 0; at < table.length; at++) table[at] = unit[at % length] ?? 0
    return table
  })
  return {
    bytesAt(offset, bytes, alignment) {
      const phase = offset % length
      const table = tables[(alignment - phase) & 3] ?? unit
      return table.subarray(phase, phase + bytes)
    },
  }
}

/** Each aligned window of 8 bytes has pseudo-random bytes of its own, made from the seed and its offset. */
export function randomKey(seed: bigint): Key {
  const words = new Uint32Array(keyBytesMax / 4 + 2)
  const bytes = new Uint8Array(words.buffer)
  const low = mix(Number(seed & 0xffffffffn) ^ 0x9e3779b9)
  const high = mix(Number(seed >> 32n) ^ low)
  return {
    bytesAt(offset, length) {
      const start = offset % 8
      const first = (offset - start) / 8
      const windows = Math.ceil((start + length) / 8)
      for (let window = 0; window < windows; window++) {
        const number = first + window
        const far = Math.floor(number / 2 ** 32)
        words[2 * window] = mix(mix(number ^ low) ^ far ^ high)
        words[2 * window + 1] = mix(mix(~number ^ high) ^ far ^ low)
      }
      return bytes.subarray(start, start + length)
    },
  }
}

/** Combines each byte with the byte of the key. */
export function applyKey(target: Uint8Array, key: Uint8Array): void {
  const { length } = target
  const fits = ((target.byteOffset ^ key.byteOffset) & 3) === 0
  const head = fits ? Math.min(length, -target.byteOffset & 3) : length
  const words = (length - head) >>> 2
  const tail = head + 4 * words
  for (let at = 0; at < head; at++) target[at] = (target[at] ?? 0) ^ (key[at] ?? 0)
  if (words === 0 && tail === length) return
  const targetWords = new Uint32Array(target.buffer, target.byteOffset + head, words)
  const keyWords = new Uint32Array(key.buffer, key.byteOffset + head, words)
  for (let at = 0; at < words; at++) targetWords[at] = (targetWords[at] ?? 0) ^ (keyWords[at] ?? 0)
  for (let at = tail; at < length; at++) target[at] = (target[at] ?? 0) ^ (key[at] ?? 0)
}
