import type { Log } from '../api/log.js'

/** A connection's name stands before the level, a layer's after it. */
const isConnection = /^client \d+$/

/**
 * Writes messages in nbdkit's shape: `client 1: debug: offset: open`.
 *
 * @param verbose false: debug messages are dropped.
 */
export function messageLog(
  verbose: boolean,
  write: (message: string) => void,
  connection = '',
  layer = '',
): Log {
  return {
    debugging: verbose,
    debug(message) {
      if (verbose) write(`${connection}debug: ${layer}${message}`)
    },
    error: (message) => write(`${connection}error: ${layer}${message}`),
    child: (name) =>
      isConnection.test(name)
        ? messageLog(verbose, write, `${name}: `, layer)
        : messageLog(verbose, write, connection, `${layer}${name}: `),
  }
}
