/** When nobody wants the end of a script any more. */
import { setMaxListeners } from 'node:events'
import type { Connection } from '../../api/connection.js'
import type { ServerContext } from '../../api/plugin.js'

/** No signal tells that a client which has ended its side is dropped later: how often to look, in ms. */
const lookMs = 100

/**
 * Watches the client that a script works for. One that has only ended its side changes nothing: it may still
 * read its replies. When it is gone, or was dropped, `unwanted` is called, but for a script
 * that writes only when the server stops too, and its grace is over.
 *
 * @returns what is called with `unwanted`, and gives what ends the watch.
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
    // Each request in flight may run a script, on the one signal of its connection: many are no leak.
    setMaxListeners(0, signal)
    if (signal.aborted) look()
    else signal.addEventListener('abort', look, { once: true })
    return () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', look)
    }
  }
}
