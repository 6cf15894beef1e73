/**
 * One page of zeroes that everybody may lend out and nobody may write to. As long as nobody does, the
 * operating system backs all of it with one page of its own, so a large one costs no memory, and most answers
 * are a single view.
 */
const page = new Uint8Array(1024 * 1024)

/**
 * Views of zeroes, `length` bytes in all: no memory is touched, however long. Return it from `read` for what
 * is known to be zero: it is recognised on its way out, and sent as a hole where the client can take one.
 */
export function zeroes(length: number): Uint8Array | readonly Uint8Array[] {
  if (length <= page.length) return page.subarray(0, length)
  const parts: Uint8Array[] = new Array(Math.floor(length / page.length)).fill(page)
  const rest = length % page.length
  if (rest > 0) parts.push(page.subarray(0, rest))
  return parts
}

/** True for a view that `zeroes` gave. */
export function isZeroes(part: Uint8Array): boolean {
  return part.buffer === page.buffer
}
