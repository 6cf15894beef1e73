/**
 * Compares today's figures with the kept ones, and decides when they are so bad that something must be wrong.
 */
import { type RowResult, ratioOf } from './result.js'
import { plain } from './table.js'

/** Noise on shared machines reaches a quarter and more, so only a loss beyond this factor counts. */
const grossFactor = 2

/** A loss counts only if it occurs in this many runs. */
export const runsToBeSure = 3

/** True where a ratio is so much lower that the row deserves another run. */
export function isLost(then: number | undefined, now: number | undefined): boolean {
  return then !== undefined && now !== undefined && now < then / grossFactor
}

/** True for a gross loss. `now` holds the ratio of each run. */
export function isGrossLoss(then: number | undefined, now: readonly number[]): boolean {
  return now.length >= runsToBeSure && now.every((ratio) => isLost(then, ratio))
}

/** The ratios by row name, without rows that have none. */
export function ratiosByName(rows: readonly RowResult[]): Map<string, number> {
  return new Map(
    rows.flatMap((row) => {
      const ratio = ratioOf(row)?.median
      return ratio === undefined ? [] : [[row.name, ratio] as const]
    }),
  )
}

/** For each of today's rows: its name, the ratio then and now, and the change. */
export function comparison(then: readonly RowResult[], now: readonly RowResult[]): string[][] {
  const [before, after] = [ratiosByName(then), ratiosByName(now)]
  return now.map(({ name }) => {
    const [old, current] = [before.get(name), after.get(name)]
    const change = old === undefined || current === undefined ? undefined : (current / old - 1) * 100
    return [
      name,
      old === undefined ? 'new' : plain(old),
      current === undefined ? 'none' : plain(current),
      change === undefined ? '' : `${change < 0 ? '−' : '+'}${Math.abs(change).toFixed(0)} %`,
    ]
  })
}
