/** Decides when a running script is no longer needed. */
import { setMaxListeners } from 'node:events'
import type { Connection } from '../../api/connection.js'
import type { ServerContext } from '../../api/plugin.js'

/**
 * No signal reports that a client which has ended its side is dropped later. Time between two checks, in ms.
 */
const lookMs = 100

/**
 * Watches the client of a script. A client that has only ended its side changes nothing, because it may still
 * read its replies. Calls `unwanted` when the client is gone or was dropped. For a script that writes, the
 * server must also be stopping.
 *
 * @returns a function that takes `unwanted`, starts the watch, and returns the function that ends it.
 */
export function watchFor(
  connection: Pick<Connection, 'signal' | 'state'>,
  writes: boolean,
  { stopping }: Pick<ServerContext, 'stopping'>,
): (unwanted: () => void) => () => void {
  return (unwanted) => {
    const { signal } = connection
    let timer: NodeJS.Timeout | undefined
    const look = () => {
      if (connection.state === 'closed' && (!writes || stopping.aborted)) unwanted()
      else timer = setTimeout(look, lookMs)
    }
    // Each request in flight may run a script on the one signal of its connection: many listeners are no
    // leak.
    setMaxListeners(0, signal)
    if (signal.aborted) look()
    else signal.addEventListener('abort', look, { once: true })
    return () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', look)
    }
  }
}
