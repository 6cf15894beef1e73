/**
 * Spreads 32 bits over 32 bits, one to one: the last steps of MurmurHash3 (Appleby). For bytes that only have
 * to look random.
 */
export function mix(word: number): number {
  let bits = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return bits ^ (bits >>> 16)
}
