/**
 * Medians and ratios. Single runs mean little: pairs of runs are compared one by one, and the median counts.
 */

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** @throws RangeError for no values. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const [min, max] = [sorted[0], sorted.at(-1)]
  const upper = sorted[sorted.length >> 1]
  const lower = sorted[(sorted.length - 1) >> 1]
  if (min === undefined || max === undefined || upper === undefined || lower === undefined)
    throw new RangeError('no values have no median')
  return { median: (lower + upper) / 2, min, max }
}

/**
 * How much better the first of each pair is. Above 1 is better, whether more or less is better for the row.
 */
export function ratiosOf(
  ours: readonly number[],
  theirs: readonly number[],
  better: 'more' | 'less',
): number[] {
  if (ours.length !== theirs.length)
    throw new RangeError(`${ours.length} of ours and ${theirs.length} of theirs are no pairs`)
  return ours.map((our, index) => {
    const their = theirs[index] ?? Number.NaN
    return better === 'more' ? our / their : their / our
  })
}
