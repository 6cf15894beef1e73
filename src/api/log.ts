/**
 * Where a server and its layers say what happens. The library itself prints nothing: give it one of these.
 */
export interface Log {
  /** Build a debug text only behind this. */
  readonly debugging: boolean
  debug(message: string): void
  error(message: string): void
  /** The same log, with `name` before each message. */
  child(name: string): Log
}

/** Says nothing: what a server uses unless it is given a log. */
export const silentLog: Log = {
  debugging: false,
  debug() {},
  error() {},
  child: () => silentLog,
}
