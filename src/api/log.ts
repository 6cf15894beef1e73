/** The topics of most debug messages: opening and closing of layers, or single requests. */
export type DebugTopic = 'controlpath' | 'datapath'

/**
 * Where a server and its layers report what happens. The library itself prints nothing: pass a log to see
 * messages.
 */
export interface Log {
  /** Build the text of a debug message only where this is true. */
  readonly debugging: boolean
  /** @param topic lets a log leave out messages of one topic. */
  debug(message: string, topic?: DebugTopic): void
  error(message: string): void
  /** The same log, with `name` in front of each message. */
  child(name: string): Log
}

/** Discards all messages. The default of a server. */
export const silentLog: Log = {
  debugging: false,
  debug() {},
  error() {},
  child: () => silentLog,
}
