/** Facts about the process around a server, which few layers need. */
import type { ServerContext } from './plugin.js'

export interface ProcessContext {
  /** False with `-s`: standard input and output are a client's connection. */
  readonly stdioSafe: boolean
  /**
   * How long the event loop may stay awake for a reply that may come at once, in us. 0 lets the loop sleep.
   */
  readonly busyPollUs: number
  /** The flags of `-D`, as `PLUGIN.FLAG=VALUE`. */
  readonly debugFlags: readonly string[]
}

const none: ProcessContext = Object.freeze({ stdioSafe: true, busyPollUs: 0, debugFlags: [] })
const processes = new WeakMap<ServerContext, ProcessContext>()

/** Attaches the context of the process to a layer's context, and returns the layer's. */
export function inProcess(server: ServerContext, process: Partial<ProcessContext>): ServerContext {
  processes.set(server, { ...none, ...process })
  return server
}

/** The process around a layer. Without a server, standard input and output are free, and nothing polls. */
export function processOf(server: ServerContext): ProcessContext {
  return processes.get(server) ?? none
}
