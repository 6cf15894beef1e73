/** The bytes that data is combined with, for each place of a disk. */

/** Combines `bytes`, which lie at `offset` of the disk, with the pattern there. */
export type Mask = (bytes: Uint8Array, offset: number) => void

/** Repeats the bytes of a key, from the begin of the disk on. */
export function repeating(key: Uint8Array): Mask {
  return (bytes, offset) => {
    let phase = offset % key.length
    for (let at = 0; at < bytes.length; at++) {
      bytes[at] = (bytes[at] ?? 0) ^ (key[phase] ?? 0)
      if (++phase === key.length) phase = 0
    }
  }
}

const windowBytes = 8

/**
 * Has eight bytes of its own for each eight bytes of the disk, which depend only on the seed and the place.
 */
export function scattered(seed: bigint): Mask {
  const low = Number(seed & 0xffffffffn)
  const high = Number(seed >> 32n)
  return (bytes, offset) => {
    for (let at = 0; at < bytes.length; ) {
      const place = offset + at
      const window = Math.floor(place / windowBytes)
      const first = mixed(window, low, high)
      const second = mixed(window, high ^ 0x9e3779b9, low)
      const end = Math.min(bytes.length, (window + 1) * windowBytes - offset)
      for (let byte = place % windowBytes; at < end; at++, byte++)
        bytes[at] = (bytes[at] ?? 0) ^ ((byte < 4 ? first : second) >>> (8 * (byte & 3)))
    }
  }
}

/** Mixes the number of a window and a seed to 32 bits that look random (the finalizer of MurmurHash3). */
function mixed(window: number, low: number, high: number): number {
  let hash = Math.imul((window | 0) ^ low, 0x85ebca6b) ^ Math.imul((window / 2 ** 32) | 0, 0xc2b2ae35) ^ high
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}
