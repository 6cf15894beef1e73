/** Messages on standard error, in the program's format. */
import type { Log } from '../api/log.js'
import { writeStandard } from '../os/standard-streams.js'
import { messageLog } from './message-log.js'
import { printable } from './printable.js'

export interface ConsoleLogOptions {
  /** Also write debug messages, as the program does with `-v`. Defaults to false. */
  readonly verbose?: boolean
  /** Precedes each message. Defaults to `nbdkit-ts`. */
  readonly name?: string
  /** Takes each message, with its newline, in place of standard error. */
  readonly write?: (line: string) => void
}

/**
 * A log for {@link ServerOptions.log}, the one that the program uses. Each message begins a line. Text from a
 * client cannot make a message look like another.
 *
 * @example const log = consoleLog({ verbose: true })
 */
export function consoleLog({
  verbose = false,
  name = 'nbdkit-ts',
  write = toStandardError,
}: ConsoleLogOptions = {}): Log {
  return messageLog(verbose, (message) => write(`${name}: ${printable(message)}\n`))
}

function toStandardError(line: string): void {
  writeStandard(2, line)
}
