/** What a row of the benchmark is: a disk, a client, and what is measured. `rows.ts` is the table of them. */

/** Who serves, or what else is put beside ours. */
export type Contender = 'ours' | 'nbdkit' | 'qemu-nbd' | 'nbd-server' | 'no filters' | 'node -e 0'

/** A word of a command line that stands for the path of the disk's image. */
export const IMAGE = 'IMAGE'
/** A word of a command line that stands for the path of what is copied into the disk. */
export const SOURCE = 'SOURCE'
/** A word of a command line that stands for the URI of the server. */
export const URI = 'URI'

export interface Image {
  /** Unique among images. */
  readonly name: string
  readonly bytes: number
  /** Data and holes of this length by turns; without it all is data. */
  readonly holeBytes?: number
}

export interface Disk {
  /** Words of the command line, the same for nbdkit and ours. */
  readonly args: readonly string[]
  /** In place of them, for nbdkit. */
  readonly nbdkit?: readonly string[]
  /** More of them, for ours alone. */
  readonly ours?: readonly string[]
  readonly image?: Image
  /**
   * Arguments of the load client, which runs once before anything is measured: it fills the disk, or sees a
   * server through its slow beginning.
   */
  readonly prepare?: readonly string[]
  /** On a TCP port of the loopback interface, else on a Unix socket. */
  readonly tcp?: true
  /** The image is put out of the page cache before each run. */
  readonly uncached?: true
}

/** A client, with arguments of its own command line. What it needs besides, `clients.ts` adds. */
export type Client =
  | { readonly program: 'fio' | 'load'; readonly args: readonly string[] }
  | {
      readonly program: 'nbdcopy' | 'nbdinfo'
      readonly args: readonly string[]
      readonly source?: Image
      /** How many a run makes: it does not tell. */
      readonly requests: number
    }
  /** The server itself, which runs `true` as soon as it listens. */
  | { readonly program: 'start' }
  /** The load client holds connections, and the server's memory is measured after `settleMs`. */
  | {
      readonly program: 'hold'
      readonly args: readonly string[]
      readonly memory: 'growth' | 'peak'
      readonly settleMs: number
    }

export interface Measure {
  readonly unit: 'requests/s' | 'connections/s' | 's' | 'ms' | 'MiB'
  readonly better: 'more' | 'less'
}

export interface Row {
  /** Unique. Words of it choose the row on the command line. */
  readonly name: string
  readonly disk: Disk
  readonly client: Client
  readonly measures: Measure
  /** Beside nbdkit. */
  readonly others?: readonly Contender[]
  /** What ours may not exceed, in the unit of the row. */
  readonly limit?: number
  /** In place of the pairs of all rows, where a row takes long or always gives the same. */
  readonly pairs?: number
  /** Also a row of `--quick`. */
  readonly quick?: boolean
  /** A bar in the chart, under this heading. The name may begin with it, and is drawn without. */
  readonly chart?: string | false
}

export const perSecond: Measure = { unit: 'requests/s', better: 'more' }
export const connectionsPerSecond: Measure = { unit: 'connections/s', better: 'more' }
export const seconds: Measure = { unit: 's', better: 'less' }
export const milliseconds: Measure = { unit: 'ms', better: 'less' }
export const mebibytes: Measure = { unit: 'MiB', better: 'less' }

/** Everyone whom a row puts side by side, in the order in which they are driven. */
export function contendersOf(row: Row): readonly Contender[] {
  return ['ours', 'nbdkit', ...(row.others ?? [])]
}
