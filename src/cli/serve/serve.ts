/** Runs a server from the command line until it has stopped. */
import { arch, constants, platform } from 'node:os'
import { ConfigError, isA, messageOf, stackOf } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import { type Server, StuckError } from '../../api/server.js'
import type { Configured } from '../../chain/configure.js'
import { messageLog } from '../../lib/message-log.js'
import { shellQuote } from '../../lib/shell-quote.js'
import { endStandard } from '../../os/standard-streams.js'
import { createServer } from '../../server/server.js'
import { ourPackage } from '../describe/package.js'
import type { LayerWords } from '../modules/layers.js'
import { logByFlags, logEnvironment, warnOfUnusedFlags } from '../options/debug-flags.js'
import { serverOptions } from '../options/server-options.js'
import type { Settings } from '../options/settings.js'
import { type MessageTarget, openMessageTarget } from '../output/log-target.js'
import { complain, print } from '../output/output.js'
import type { Starter } from '../process/launcher.js'
import { checkPidFile, removePidFile, writePidFile } from '../process/pid-file.js'
import { startCaptive } from '../process/run-command.js'
import { type Run, stopOnSignals } from '../process/signals.js'
import { takeStandardStreams } from '../process/standard-streams.js'
import { stdioStream } from '../process/stdio.js'
import { placesToListen } from './listen-targets.js'
import { listenOnAll } from './listening.js'
import type { ServedThreads, WorkersOptions } from './workers.js'

/**
 * Serves until a signal, a layer, the client of `-s` or the command of `--run` ends it.
 *
 * @param startedBy the process that waits until clients can connect; undefined in the foreground.
 * @returns the exit status.
 * @throws ConfigError when the server cannot start, StuckError when a layer keeps it from stopping.
 */
export async function serve(
  settings: Settings,
  words: LayerWords,
  layers: Configured,
  startedBy?: Starter,
): Promise<number> {
  const messages = await openMessageTarget(settings.log, startedBy !== undefined)
  const log = logByFlags(messageLog(settings.verbose, messages.write), settings.debugFlags)
  log.debug(`nbdkit-ts ${ourPackage().version}, Node ${process.versions.node}, ${platform()} ${arch()}`)
  warnOfUnusedFlags(settings.debugFlags, layers.plugin.definition.commandLine?.takesDebugFlags === true)
  if (settings.exitWithParent) (await import('../process/exit-with-parent.js')).exitWithParent()
  if (settings.pidFile !== undefined) checkPidFile(settings.pidFile)
  takeStandardStreams()
  const places = await placesToListen(settings)
  logEnvironment(log, settings.debugFlags)
  const run: Run = { status: 0, captive: undefined, signal: undefined }
  const crashed = (text: string) => {
    log.error(`uncaught: ${text}`)
    run.status = 1
    run.captive?.kill('SIGTERM')
    server.shutdown().catch(() => {})
  }
  const server = await makeServer({ settings, words, layers, log, write: messages.write, crashed })
  stopOnSignals(server, run, settings)
  const stuck = new Promise<never>((_, reject) => void server.stopped.catch(reject))
  stuck.catch(() => {})
  // An exception outside any callback, such as in a plugin's timer, leaves an unknown state.
  process.on('uncaughtException', (error: unknown) => crashed(stackOf(error)))
  try {
    // If a layer is never ready, this ends when the shutdown gives up, which names the layer.
    if (settings.stdio && 'serve' in server) await serveStdio(server, stuck)
    else {
      await Promise.race([listenOnAll(server, places), stuck])
      await serveSockets(server, run, settings, () => detach(settings, messages, startedBy))
    }
  } catch (error) {
    // After a signal, failing to listen is expected.
    if (run.signal === undefined || isA(error, StuckError)) {
      // Report why the server does not serve, even if it also hangs: the hang has been logged.
      await server.shutdown({ graceMs: 0 }).catch(() => {})
      throw error
    }
  }
  await server.stopped
  if (settings.run !== undefined && run.captive === undefined) return neverRan(run)
  return run.status
}

/** The exit status where the command of `--run` was not started, which must not look like its success. */
function neverRan({ signal, status }: Run): number {
  if (signal !== undefined) return 128 + constants.signals[signal]
  if (status === 0) complain('--run: the server was stopped before the command could be started')
  return 1
}

interface Making extends Omit<WorkersOptions, 'count'> {
  readonly log: Log
}

async function makeServer({ log, ...options }: Making): Promise<Server | ServedThreads> {
  const { settings, layers } = options
  const one = () => createServer({ ...serverOptions(settings, log), ...layers })
  if (settings.workers === 1) return one()
  const { WorkerServer, workerCount } = await import('./workers.js')
  const count = workerCount(settings, layers)
  return count === 1 ? one() : new WorkerServer({ ...options, count })
}

/** @param detach called when clients can connect. */
async function serveSockets(
  server: ServedThreads,
  run: Run,
  settings: Settings,
  detach: () => void,
): Promise<void> {
  // A layer or a signal may already have requested a stop.
  if (server.state !== 'serving') return
  const { pidFile } = settings
  // If the file is a FIFO, this waits for a reader.
  if (pidFile !== undefined) await Promise.race([writePidFile(pidFile), server.stopped])
  if (server.state !== 'serving') return
  try {
    if (settings.printUri && server.uri !== undefined) print(describeUri(server.uri))
    else if (
      settings.foreground &&
      settings.run === undefined &&
      process.getBuiltinModule('node:tty').isatty(2)
    )
      complain(`listening on ${server.uri}: Ctrl-C stops it`)
    detach()
  } catch (error) {
    if (pidFile !== undefined) removePidFile(pidFile)
    throw error
  }
  if (settings.run === undefined) return
  await serveCaptive(server, run, settings, settings.run)
}

/** nbdkit's lines, with the URI alone on the first. */
function describeUri(uri: string): string {
  const quoted = shellQuote(uri)
  return `${uri}\nShell-quoted URI: ${quoted}\nCommand to query the NBD endpoint:\n  nbdinfo ${quoted}`
}

function detach({ log }: Settings, messages: MessageTarget, startedBy: Starter | undefined): void {
  if (startedBy) endStandard()
  startedBy?.ready(log === 'stderr')
  messages.leaveStandardError()
}

async function serveCaptive(
  server: ServedThreads,
  run: Run,
  settings: Settings,
  command: string,
): Promise<void> {
  try {
    run.captive = startCaptive(command, server, settings)
    run.status = await run.captive.status
  } catch (error) {
    throw new ConfigError(`--run: ${messageOf(error)}`, { cause: error })
  }
  await server.shutdown()
}

/** Serves `-s`. A plugin's output would be taken for replies, so it goes to standard error. */
async function serveStdio(server: Server, stuck: Promise<never>): Promise<void> {
  console.log = console.info = console.debug = console.error
  const stream = stdioStream()
  const closed = new Promise((resolve) => stream.once('close', resolve))
  await Promise.race([server.serve(stream), stuck])
  await closed
  await server.shutdown()
}
