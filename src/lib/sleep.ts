import { setMaxListeners } from 'node:events'
import { NbdError } from '../api/errors.js'

/**
 * Resolves after `ms`, rounded up to whole milliseconds. When `signal` fires first, or has fired before, it
 * rejects at once with ESHUTDOWN, and leaves neither timer nor listener behind.
 *
 * @example await sleep(5, request.connection.signal)
 */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.reject(dropped())
  // Each request in flight may sleep on the one signal of its connection: many listeners are no leak.
  setMaxListeners(0, signal)
  return new Promise((resolve, reject) => {
    const wake = () => {
      signal.removeEventListener('abort', drop)
      resolve()
    }
    const drop = () => {
      clearTimeout(timer)
      reject(dropped())
    }
    const timer = setTimeout(wake, Math.ceil(ms))
    signal.addEventListener('abort', drop, { once: true })
  })
}

function dropped(): NbdError {
  return new NbdError('ESHUTDOWN', 'the connection was dropped during a delay')
}
