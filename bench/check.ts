/** Figures of today beside those that were kept, and when they are so bad that something must be wrong. */
import { type RowResult, ratioOf } from './result.js'
import { plain } from './table.js'

/** Noise on shared machines comes to a quarter and more: only a loss beyond this factor is looked at. */
const grossFactor = 2

/** And only when it comes every time. */
export const runsToBeSure = 3

/** Whether a ratio is so much lower that the row is worth another run. */
export function isLost(then: number | undefined, now: number | undefined): boolean {
  return then !== undefined && now !== undefined && now < then / grossFactor
}

/** Whether it is a gross loss: `now` has the ratio of each run. */
export function isGrossLoss(then: number | undefined, now: readonly number[]): boolean {
  return now.length >= runsToBeSure && now.every((ratio) => isLost(then, ratio))
}

/** By name. Rows without a ratio are left out. */
export function ratiosByName(rows: readonly RowResult[]): Map<string, number> {
  return new Map(
    rows.flatMap((row) => {
      const ratio = ratioOf(row)?.median
      return ratio === undefined ? [] : [[row.name, ratio] as const]
    }),
  )
}

/** For each row of today: its name, the ratio then and now, and the change. */
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
