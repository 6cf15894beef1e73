import { messageOf } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import type { MaybePromise } from '../../api/maybe.js'
import { runScript } from '../../os/run-script.js'

/** The most waiting runs of a script. Beyond that, requests wait, too. */
const waitingMax = 1000

export interface LogScript {
  /**
   * Queues a run of the script. Returns a promise, which resolves after the run, only where too many runs
   * wait.
   */
  run(variables: Readonly<Record<string, string | undefined>>): MaybePromise<void>
  /** Resolves after all runs. */
  close(): Promise<void>
}

/**
 * One script for all connections, run once for each event, one run after the other. Requests do not wait for
 * it, because a log only observes. Its exit status is ignored.
 */
export function logScript(script: string, log: Log, limit = waitingMax): LogScript {
  let last = Promise.resolve()
  let waiting = 0
  let failing = false
  let closed = false
  const runNow = async (variables: Readonly<Record<string, string | undefined>>) => {
    try {
      await runScript(script, variables)
      failing = false
    } catch (error) {
      if (!failing) log.error(`cannot run the script, events are missing from here on: ${messageOf(error)}`)
      failing = true
    }
    waiting--
  }
  return {
    run(variables) {
      if (closed) return
      waiting++
      last = last.then(() => runNow(variables))
      return waiting > limit ? last : undefined
    },
    close() {
      closed = true
      return last
    },
  }
}
