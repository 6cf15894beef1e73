/** The structure of a benchmark row: a disk, a client, and a measure. `rows.ts` has the table of rows. */

/** A server to measure, or something else to compare ours with. */
export type Contender = 'ours' | 'nbdkit' | 'qemu-nbd' | 'nbd-server' | 'no filters' | 'node -e 0'

/** A command line word that stands for the path of the disk's image. */
export const IMAGE = 'IMAGE'
/** A command line word that stands for the path of the image to copy to the disk. */
export const SOURCE = 'SOURCE'
/** A command line word that stands for the server's URI. */
export const URI = 'URI'

export interface Image {
  /** Unique among images. */
  readonly name: string
  readonly bytes: number
  /** Length of alternating data and holes. Without it, all is data. */
  readonly holeBytes?: number
}

export interface Disk {
  /** Command line words, the same for nbdkit and ours. */
  readonly args: readonly string[]
  /** Replaces them for nbdkit. */
  readonly nbdkit?: readonly string[]
  /** Further words for ours only. */
  readonly ours?: readonly string[]
  readonly image?: Image
  /**
   * Arguments of the load client for a run before the measurement, which fills the disk or warms up the
   * server.
   */
  readonly prepare?: readonly string[]
  /** Use a TCP port of the loopback interface instead of a Unix socket. */
  readonly tcp?: true
  /** Evict the image from the page cache before each run. */
  readonly uncached?: true
}

/** A client with its own command line arguments. `clients.ts` adds the rest. */
export type Client =
  | { readonly program: 'fio' | 'load'; readonly args: readonly string[] }
  | {
      readonly program: 'nbdcopy' | 'nbdinfo'
      readonly args: readonly string[]
      readonly source?: Image
      /** The number of requests of a run, which the program does not report. */
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
  /** Unique. Words of it select the row on the command line. */
  readonly name: string
  readonly disk: Disk
  readonly client: Client
  readonly measures: Measure
  /** Contenders besides nbdkit. */
  readonly others?: readonly Contender[]
  /** A limit that ours must not exceed, in the unit of the row. */
  readonly limit?: number
  /** Replaces the general number of pairs, for a row that takes long or always gives the same figure. */
  readonly pairs?: number
  /** The row is also part of `--quick`. */
  readonly quick?: boolean
  /**
   * The heading in the chart under which the row has a bar. A name that begins with the heading is drawn
   * without it.
   */
  readonly chart?: string | false
}

export const perSecond: Measure = { unit: 'requests/s', better: 'more' }
export const connectionsPerSecond: Measure = { unit: 'connections/s', better: 'more' }
export const seconds: Measure = { unit: 's', better: 'less' }
export const milliseconds: Measure = { unit: 'ms', better: 'less' }
export const mebibytes: Measure = { unit: 'MiB', better: 'less' }

/** All contenders of a row, in the order in which they are driven. */
export function contendersOf(row: Row): readonly Contender[] {
  return ['ours', 'nbdkit', ...(row.others ?? [])]
}
