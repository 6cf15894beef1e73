/** The values of the options, for the rest of the program. */

/** The task: to serve, or to print something and end. */
export type Task =
  | 'serve'
  | 'dump-plugin'
  | 'version'
  | 'help'
  | 'dump-config'
  | 'long-options'
  | 'short-options'

/**
 * The destination of messages: `default` is standard error, then the system log once in the background. A
 * path is a file.
 */
export type LogTarget = 'default' | 'stderr' | 'syslog' | 'null' | `/${string}`

export interface Settings {
  readonly task: Task
  /** Outermost first. */
  readonly filters: readonly string[]
  readonly exportName: string
  readonly readOnly: boolean
  readonly verbose: boolean
  /** As given: `NAME.FLAG=N`. */
  readonly debugFlags: readonly string[]
  /** Distinguishes this server from others in messages. Empty for no name. */
  readonly name: string
  readonly log: LogTarget
  readonly foreground: boolean
  readonly exitWithParent: boolean
  /** The path of a Unix socket, or `-` for a private one. */
  readonly unix?: string
  readonly port?: number
  /** Empty for all interfaces. */
  readonly addresses: readonly string[]
  /** Undefined for both. */
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
  /** 0 for the server's default. */
  readonly threads: number
  /** The number of serving threads. `auto` means one for each processor, where the layers allow it. */
  readonly workers: number | 'auto'
  /** Defaults to the server's choice. */
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
