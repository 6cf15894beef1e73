/** What the options say, as the rest of the program reads it. */

/** What is to be done: to serve, or to print something and end. */
export type Task =
  | 'serve'
  | 'dump-plugin'
  | 'version'
  | 'help'
  | 'dump-config'
  | 'long-options'
  | 'short-options'

/** Where messages go: `default` is standard error, and the system log once in the background. Else a file. */
export type LogTarget = 'default' | 'stderr' | 'syslog' | 'null' | `/${string}`

export interface Settings {
  readonly task: Task
  /** Outermost first. */
  readonly filters: readonly string[]
  readonly exportName: string
  readonly readOnly: boolean
  readonly verbose: boolean
  /** As they were given: `NAME.FLAG=N`. */
  readonly debugFlags: readonly string[]
  /** Told apart by it from other servers, in messages; empty: no name. */
  readonly name: string
  readonly log: LogTarget
  readonly foreground: boolean
  readonly exitWithParent: boolean
  /** The path of a Unix socket, or `-` for a private one. */
  readonly unix?: string
  readonly port?: number
  /** Empty: all interfaces. */
  readonly addresses: readonly string[]
  /** Both unless given. */
  readonly family?: 4 | 6
  readonly keepAlive: boolean
  readonly stdio: boolean
  readonly run?: string
  readonly pidFile?: string
  readonly printUri: boolean
  readonly oldstyle: boolean
  readonly maskHandshake?: number
  readonly structuredReplies: boolean
  readonly metaContexts: boolean
  /** 0: as many as the server thinks right. */
  readonly threads: number
  /** Threads that serve; `auto`: one for each processor, where the layers allow it. */
  readonly workers: number | 'auto'
  /** What the server thinks right, unless given. */
  readonly busyPollUs?: number
  readonly handshakeTimeoutMs: number
  readonly graceMs: number
}

export const defaults: Settings = {
  task: 'serve',
  filters: [],
  exportName: '',
  readOnly: false,
  verbose: false,
  debugFlags: [],
  name: '',
  log: 'default',
  foreground: false,
  exitWithParent: false,
  addresses: [],
  keepAlive: false,
  stdio: false,
  printUri: false,
  oldstyle: false,
  structuredReplies: true,
  metaContexts: true,
  threads: 0,
  workers: 1,
  handshakeTimeoutMs: 0,
  graceMs: 30_000,
}
