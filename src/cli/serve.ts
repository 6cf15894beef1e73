/** Runs a server from the command line until it has stopped. */
import { ConfigError, messageOf, stackOf } from '../api/errors.js'
import type { Log } from '../api/log.js'
import type { ListenTarget, Server } from '../api/server.js'
import type { Configured } from '../chain/configure.js'
import { shellQuote } from '../lib/shell-quote.js'
import { createServer } from '../server/server.js'
import { type Captive, startCaptive } from './captive.js'
import { logByFlags, logEnvironment, warnOfUnusedFlags } from './debug-flags.js'
import type { LayerWords } from './layers.js'
import { listenOnAll } from './listening.js'
import { messageLog } from './log.js'
import { type MessageTarget, openMessageTarget } from './log-target.js'
import { print } from './output.js'
import { checkPidFile, removePidFile, writePidFile } from './pid-file.js'
import { placesToListen } from './places.js'
import { serverOptions } from './server-options.js'
import type { Settings } from './settings.js'
import type { Starter } from './starter.js'
import { stdioStream } from './stdio.js'
import type { Served, WorkersOptions } from './workers.js'

/**
 * Serves until a signal, a layer, the client of `-s` or the command of `--run` ends it.
 *
 * @param startedBy waits until clients can connect; undefined in the foreground.
 * @returns the exit status.
 * @throws ConfigError when it cannot start, StuckError when a layer does not let it stop.
 */
export async function serve(
  settings: Settings,
  words: LayerWords,
  layers: Configured,
  startedBy?: Starter,
): Promise<number> {
  warnOfUnusedFlags(settings.debugFlags, layers.plugin.definition.takesDebugFlags === true)
  if (settings.exitWithParent) await (await import('./exit-with-parent.js')).exitWithParent()
  if (settings.pidFile !== undefined) checkPidFile(settings.pidFile)
  const messages = await openMessageTarget(settings.log, startedBy !== undefined)
  const places = await placesToListen(settings)
  const log = logByFlags(messageLog(settings.verbose, messages.write), settings.debugFlags)
  logEnvironment(log, settings.debugFlags)
  const run: Run = { status: 0, captive: undefined, stopping: false }
  const crashed = (text: string) => {
    log.error(`uncaught: ${text}`)
    run.status = 1
    run.captive?.kill('SIGTERM')
    server.shutdown().catch(() => {})
  }
  const server = await makeServer({ settings, words, layers, log, write: messages.write, crashed })
  stopOnSignals(server, run)
  // A throw outside of any callback, from a timer of a plugin: nobody knows what it left undone.
  process.on('uncaughtException', (error: unknown) => crashed(stackOf(error)))
  try {
    if (settings.stdio && 'serve' in server) await serveStdio(server)
    else await serveSockets(server, places, run, settings, () => detach(settings, messages, startedBy))
  } catch (error) {
    // A signal that came first is why the server would not listen.
    if (!run.stopping) {
      await server.shutdown({ graceMs: 0 })
      throw error
    }
  }
  await server.stopped
  return run.status
}

/** What happens to a server from outside. */
interface Run {
  status: number
  captive: Captive | undefined
  /** A signal has come. */
  stopping: boolean
}

interface Making extends Omit<WorkersOptions, 'count'> {
  readonly log: Log
}

async function makeServer({ log, ...options }: Making): Promise<Server | Served> {
  const { settings, layers } = options
  const one = () => createServer({ ...serverOptions(settings, log), ...layers })
  if (settings.workers === 1) return one()
  const { WorkerServer, workerCount } = await import('./workers.js')
  const count = workerCount(settings, layers)
  return count === 1 ? one() : new WorkerServer({ ...options, count })
}

/** @param detach called when clients can connect. */
async function serveSockets(
  server: Served,
  places: readonly ListenTarget[],
  run: Run,
  settings: Settings,
  detach: () => void,
): Promise<void> {
  await listenOnAll(server, places)
  // A layer or a signal may already have asked it to stop.
  if (server.state !== 'serving') return
  const { pidFile } = settings
  if (pidFile !== undefined) writePidFile(pidFile)
  try {
    if (settings.printUri && server.uri !== undefined) print(describeUri(server.uri))
    detach()
  } catch (error) {
    if (pidFile !== undefined) removePidFile(pidFile)
    throw error
  }
  if (settings.run === undefined) return
  await serveCaptive(server, run, settings, settings.run)
}

/** The lines of nbdkit, the URI alone on the first. */
function describeUri(uri: string): string {
  const quoted = shellQuote(uri)
  return `${uri}\nShell-quoted URI: ${quoted}\nCommand to query the NBD endpoint:\n  nbdinfo ${quoted}`
}

function detach({ log }: Settings, messages: MessageTarget, startedBy: Starter | undefined): void {
  startedBy?.ready(log === 'stderr')
  messages.leaveStandardError()
}

async function serveCaptive(server: Served, run: Run, settings: Settings, command: string): Promise<void> {
  try {
    run.captive = startCaptive(command, server, settings)
    run.status = await run.captive.status
  } catch (error) {
    throw new ConfigError(`--run: ${messageOf(error)}`, { cause: error })
  }
  await server.shutdown()
}

/** What a plugin prints would be taken for replies, so it goes where messages go. */
async function serveStdio(server: Server): Promise<void> {
  console.log = console.info = console.debug = console.error
  const stream = stdioStream()
  const closed = new Promise((resolve) => stream.once('close', resolve))
  await server.serve(stream)
  await closed
  await server.shutdown()
}

/** The first asks, the second insists. A terminal signals the command too; other signals are passed on. */
function stopOnSignals(server: Served, run: Run): void {
  const stop = (signal: NodeJS.Signals) => {
    const again = run.stopping
    run.stopping = true
    if (again || signal === 'SIGTERM' || signal === 'SIGHUP') run.captive?.kill('SIGTERM')
    // Whether it stops well is told by `stopped`, which is awaited elsewhere.
    server.shutdown(again ? { graceMs: 0 } : {}).catch(() => {})
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP'] as const) process.on(signal, stop)
}
