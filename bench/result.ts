/** Measured results, as kept in JSON files and shown in tables. */
import type { Sample } from './clients.js'
import type { Memory } from './proc.js'
import type { Contender, Measure, Row } from './row.js'
import { ratiosOf, type Spread, spreadOf } from './statistics.js'

/** Data gathered for one contender. */
export interface Gathered {
  readonly samples: Sample[]
  cpuUs: number
  memory: Memory | undefined
  /** Why gathering stopped, if it did. */
  end: { readonly failed: string } | { readonly skipped: string } | undefined
}

export interface Figures {
  /** The median, in the unit of the row. */
  readonly figure?: number
  /** How much better ours is: above 1 is better. Ours itself has none. */
  readonly ratio?: Spread
  /** CPU time of the server for each request. */
  readonly cpuUsPerRequest?: number
  /** At the end of the row. */
  readonly residentMiB?: number
  readonly peakMiB?: number
  /** Why there are no figures. */
  readonly failed?: string
  readonly skipped?: string
}

export interface RowResult extends Measure {
  readonly name: string
  readonly figures: { readonly [contender in Contender]?: Figures }
  readonly failed?: string
  readonly skipped?: string
}

const MiB = 2 ** 20

/** Rounds a number to the precision of the measurement. */
function rounded(value: number): number {
  return Number(value.toPrecision(4))
}

export function figuresOf(gathered: Gathered, ours: Gathered, row: Row): Figures {
  const { samples, end, memory } = gathered
  if (end !== undefined) return end
  const values = samples.map(({ figure }) => figure)
  const requests = samples.reduce((sum, sample) => sum + sample.requests, 0)
  const ourValues = ours.samples.map(({ figure }) => figure)
  const ratio = gathered === ours ? undefined : spreadOf(ratiosOf(ourValues, values, row.measures.better))
  return {
    figure: rounded(spreadOf(values).median),
    ...(ratio && {
      ratio: { median: rounded(ratio.median), min: rounded(ratio.min), max: rounded(ratio.max) },
    }),
    ...(requests > 0 && { cpuUsPerRequest: rounded(gathered.cpuUs / requests) }),
    ...(memory && {
      residentMiB: rounded(memory.residentBytes / MiB),
      peakMiB: rounded(memory.peakBytes / MiB),
    }),
  }
}

/** The ratio of the row: ours to nbdkit. */
export function ratioOf({ figures }: RowResult): Spread | undefined {
  return figures.nbdkit?.ratio
}
