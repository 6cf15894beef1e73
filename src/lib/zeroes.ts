/** One page of zeroes that everybody may lend out and nobody may write to. */
const page = new Uint8Array(64 * 1024)

/** Views of zeroes, `length` bytes in all: no memory is touched, however long. */
export function zeroes(length: number): Uint8Array | readonly Uint8Array[] {
  if (length <= page.length) return page.subarray(0, length)
  const parts: Uint8Array[] = new Array(Math.floor(length / page.length)).fill(page)
  const rest = length % page.length
  if (rest > 0) parts.push(page.subarray(0, rest))
  return parts
}
