import type { Log } from '../api/log.js'

/** A connection's name stands before the level, a layer's after it. */
const isConnection = /^client \d+$/

export type Level = 'debug' | 'error'

/**
 * Writes messages in nbdkit's shape: `client 1: debug: offset: open`.
 *
 * @param verbose false: debug messages are dropped.
 */
export function messageLog(
  verbose: boolean,
  write: (message: string, level: Level) => void,
  connection = '',
  layer = '',
): Log {
  return {
    debugging: verbose,
    debug(message) {
      if (verbose) write(`${connection}debug: ${layer}${message}`, 'debug')
    },
    error: (message) => write(`${connection}error: ${layer}${message}`, 'error'),
    child: (name) =>
      isConnection.test(name)
        ? messageLog(verbose, write, `${name}: `, layer)
        : messageLog(verbose, write, connection, `${layer}${name}: `),
  }
}
