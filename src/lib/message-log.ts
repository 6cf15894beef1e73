import type { Log } from '../api/log.js'

/** A connection's name precedes the level, and a layer's name follows it. */
const isConnection = /^client \d+$/

export type Level = 'debug' | 'error'

/**
 * Formats messages as nbdkit does: `client 1: debug: offset: open`.
 *
 * @param verbose false drops debug messages.
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
