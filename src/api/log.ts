/** What most debug messages are of: the opening and closing of layers, or single requests. */
export type DebugTopic = 'controlpath' | 'datapath'

/**
 * Where a server and its layers say what happens. The library itself prints nothing: give it one of these.
 */
export interface Log {
  /** Build a debug text only behind this. */
  readonly debugging: boolean
  /** @param topic a log may leave out the messages of one. */
  debug(message: string, topic?: DebugTopic): void
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
