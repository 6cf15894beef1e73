/** Messages on standard error, as the program writes them. */
import type { Log } from '../api/log.js'
import { messageLog } from './message-log.js'
import { printable } from './printable.js'
import { writeStandard } from './standard-streams.js'

export interface ConsoleLogOptions {
  /** Also what is only of use to find a fault: `-v` of the program. False unless given. */
  readonly verbose?: boolean
  /** Stands before each message; `nbdkit-ts` unless given. */
  readonly name?: string
  /** Takes each message, with its end of line, in place of standard error. */
  readonly write?: (line: string) => void
}

/**
 * A log for {@link ServerOptions.log}: the one that the program uses. Each message begins a line, and
 * whatever a client puts into it, it looks like no other.
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
