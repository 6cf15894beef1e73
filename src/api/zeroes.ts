/**
 * A shared page of zeroes that must never be written. Until somebody writes to it, the operating system backs
 * all of it with one page of its own. A large page thus costs no memory, and most answers are a single view.
 */
const page = new Uint8Array(1024 * 1024)

/**
 * Returns views of zeroes, `length` bytes in all, without touching memory. Return them from `read` for ranges
 * known to be zero: the server recognises them, and sends a hole where the client can take one.
 */
export function zeroes(length: number): Uint8Array | readonly Uint8Array[] {
  if (length <= page.length) return page.subarray(0, length)
  const parts: Uint8Array[] = new Array(Math.floor(length / page.length)).fill(page)
  const rest = length % page.length
  if (rest > 0) parts.push(page.subarray(0, rest))
  return parts
}

/** True for a view from `zeroes`. */
export function isZeroes(part: Uint8Array): boolean {
  return part.buffer === page.buffer
}
