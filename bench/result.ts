/** What was measured, as it is kept in files of JSON and shown in tables. */
import type { Sample } from './clients.js'
import type { Memory } from './proc.js'
import type { Contender, Measure, Row } from './row.js'
import { ratiosOf, type Spread, spreadOf } from './statistics.js'

/** What is gathered of one contender. */
export interface Gathered {
  readonly samples: Sample[]
  cpuUs: number
  memory: Memory | undefined
  /** Why nothing more is gathered, if nothing is. */
  end: { readonly failed: string } | { readonly skipped: string } | undefined
}

export interface Figures {
  /** The median, in the unit of the row. */
  readonly figure?: number
  /** How much better ours is: above 1 is better. Ours has none. */
  readonly ratio?: Spread
  /** Time of the server for each request. */
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

/** Numbers that say no more than was measured. */
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

/** Of the whole row: ours to nbdkit. */
export function ratioOf({ figures }: RowResult): Spread | undefined {
  return figures.nbdkit?.ratio
}
