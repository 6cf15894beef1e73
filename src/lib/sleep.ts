import type { Connection } from '../api/connection.js'
import { NbdError } from '../api/errors.js'

/**
 * Resolves after `ms`, rounded up to whole milliseconds. Resolves sooner when `stopping` fires, or when the
 * client is gone or will send no more requests, so that the caller does not wait for a delay that no longer
 * matters. Rejects with ESHUTDOWN where the client was dropped, because the result would be discarded.
 *
 * @example await sleep(5, request.connection, server.stopping)
 */
export async function sleep(
  ms: number,
  connection: Pick<Connection, 'signal' | 'state'>,
  stopping: AbortSignal,
): Promise<void> {
  const { signal } = connection
  if (!signal.aborted && !stopping.aborted)
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        leave(signal, wake)
        leave(stopping, wake)
        resolve()
      }
      const timer = setTimeout(wake, Math.ceil(ms))
      join(signal, wake)
      join(stopping, wake)
    })
  if (connection.state === 'closed')
    throw new NbdError('ESHUTDOWN', 'the connection was dropped during a delay')
}

interface Sleepers {
  readonly wakes: Set<() => void>
  readonly listener: () => void
}

/**
 * Sleepers on the same signal share one listener: a server has many requests in flight and one `stopping`.
 */
const sleepersOn = new WeakMap<AbortSignal, Sleepers>()

function join(signal: AbortSignal, wake: () => void): void {
  let sleepers = sleepersOn.get(signal)
  if (sleepers === undefined) {
    const wakes = new Set<() => void>()
    const listener = () => {
      for (const each of wakes) each()
    }
    sleepers = { wakes, listener }
    sleepersOn.set(signal, sleepers)
    signal.addEventListener('abort', sleepers.listener)
  }
  sleepers.wakes.add(wake)
}

function leave(signal: AbortSignal, wake: () => void): void {
  const sleepers = sleepersOn.get(signal)
  if (!sleepers?.wakes.delete(wake) || sleepers.wakes.size > 0) return
  sleepersOn.delete(signal)
  signal.removeEventListener('abort', sleepers.listener)
}
