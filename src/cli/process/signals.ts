/** Stops a server on signals. */
import { timeoutMsMax } from '../../connection/ending.js'
import type { Settings } from '../options/settings.js'
import { complain } from '../output/output.js'
import type { ServedThreads } from '../serve/workers.js'
import { endProcess } from './exit.js'
import type { Captive } from './run-command.js'

/** External influences on a running server, and its exit status. */
export interface Run {
  status: number
  captive: Captive | undefined
  /** The first signal received. */
  signal: NodeJS.Signals | undefined
}

/**
 * The first signal requests a stop, the second forces it. A terminal also signals the command; other signals
 * are passed on.
 */
export function stopOnSignals(server: ServedThreads, run: Run, { graceMs }: Settings): void {
  const stop = (signal: NodeJS.Signals) => {
    const again = run.signal !== undefined
    run.signal ??= signal
    giveUpLater(server, again ? 0 : graceMs)
    if (again || signal === 'SIGTERM' || signal === 'SIGHUP') run.captive?.kill('SIGTERM')
    // The result of the stop is reported by `stopped`, which is awaited elsewhere.
    server.shutdown(again ? { graceMs: 0 } : {}).catch(() => {})
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP'] as const) process.on(signal, stop)
}

/** A layer may block even its own thread, which then reports nothing. */
const lastGraceMs = 2000

/** Ends the process some time after the server should have given up by itself. */
function giveUpLater(server: ServedThreads, graceMs: number): void {
  const settleMs = Math.max(graceMs, 1000)
  if (graceMs + settleMs + lastGraceMs > timeoutMsMax) return
  const giveUp = () => {
    complain('error: the server does not stop: it is given up')
    void endProcess(1, true)
  }
  const timer = setTimeout(giveUp, graceMs + settleMs + lastGraceMs).unref()
  const stopped = () => clearTimeout(timer)
  server.stopped.then(stopped, stopped)
}
