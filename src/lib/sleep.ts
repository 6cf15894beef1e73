import type { Connection } from '../api/connection.js'
import { NbdError } from '../api/errors.js'

/**
 * Resolves after `ms`, rounded up to whole milliseconds, or sooner: when `stopping` fires, or when the client
 * is gone or asks no more. Nobody waits then for a delay that no longer matters, and the caller goes on at
 * once. Where the client was dropped it rejects with ESHUTDOWN: the result would be thrown away.
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
 * Those who sleep on a signal share one listener: a server has many requests in flight, and one `stopping`.
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
