/**
 * Cuts `bytes` in two pieces in every way, and then into single bytes. A decoder must give the same result
 * for each. The pieces are copies, so that a decoder which keeps a view of one piece does not find the next
 * piece there.
 *
 * @example for (const pieces of everySplit(message)) assert.deepEqual(decode(pieces), decode([message]))
 */
export function* everySplit(bytes: Uint8Array): Generator<readonly Uint8Array[]> {
  // Not `slice`, which for a Buffer is a view.
  const copy = (from: number, to: number) => Uint8Array.from(bytes.subarray(from, to))
  for (let cut = 1; cut < bytes.length; cut++) yield [copy(0, cut), copy(cut, bytes.length)]
  yield Array.from(bytes, (byte) => Uint8Array.of(byte))
}
