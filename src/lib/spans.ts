/** Ranges of a disk in a sorted list, and the gaps between them. */

/** In bytes; `end` is the first byte behind the range. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** A part of a range of the disk, in one range of a list or in a gap of that list. */
export interface Span<R extends Range> extends Range {
  /** Undefined: no range of the list covers the part. */
  readonly range: R | undefined
}

/**
 * Splits `length` bytes at `offset` where a range of the list begins or ends. In ascending order, without
 * gaps. The ranges of the list must be in ascending order, not empty, and must not overlap. Finding the first
 * of them takes logarithmic time.
 */
export function* spansOf<R extends Range>(
  ranges: readonly R[],
  offset: number,
  length: number,
): Generator<Span<R>> {
  const stop = offset + length
  let at = offset
  for (let index = firstEndingAfter(ranges, offset); at < stop; index++) {
    const range = ranges[index]
    const start = Math.min(range?.start ?? stop, stop)
    if (at < start) yield { start: at, end: start, range: undefined }
    if (range === undefined || start === stop) return
    const end = Math.min(range.end, stop)
    yield { start: Math.max(at, start), end, range }
    at = end
  }
}

/** The index of the first range that ends behind an offset; the length of the list where none does. */
function firstEndingAfter(ranges: readonly Range[], offset: number): number {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ranges[middle]?.end ?? 0) <= offset) low = middle + 1
    else high = middle
  }
  return low
}
