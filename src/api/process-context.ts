/** What few layers ask of the process around their server. */
import type { ServerContext } from './plugin.js'

export interface ProcessContext {
  /** False with `-s`: standard input and output are a client's connection. */
  readonly stdioSafe: boolean
  /** How long the event loop may stay awake for an answer that may come at once, in us; 0: it sleeps. */
  readonly busyPollUs: number
  /** Those of `-D`, as `PLUGIN.FLAG=VALUE`. */
  readonly debugFlags: readonly string[]
}

const none: ProcessContext = Object.freeze({ stdioSafe: true, busyPollUs: 0, debugFlags: [] })
const processes = new WeakMap<ServerContext, ProcessContext>()

/** Gives the context of a layer that of the process, and returns the former. */
export function inProcess(server: ServerContext, process: Partial<ProcessContext>): ServerContext {
  processes.set(server, { ...none, ...process })
  return server
}

/** Where a layer is set up without a server, standard input and output are free, and nothing polls. */
export function processOf(server: ServerContext): ProcessContext {
  return processes.get(server) ?? none
}
