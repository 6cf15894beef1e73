import { isOnPurpose, placeIn } from '../../api/error-text.js'
import { isA, messageOf, stackOf } from '../../api/errors.js'
import { failureOf } from '../../chain/blame.js'
import { printable } from '../../lib/printable.js'
import { writeStandard } from '../../os/standard-streams.js'

/** Prints lines on standard output. */
export function print(text: string): void {
  writeStandard(1, `${text}\n`)
}

/** The text in front of each message. */
let program = 'nbdkit-ts'

/** `--name`: distinguishes the messages of this server from those of others. */
export function nameProgram(name: string): void {
  if (name !== '') program = `nbdkit-ts[${name}]`
}

/** Reports a problem to the user on standard error. */
export function complain(text: string): void {
  writeStandard(2, messageLine(text))
}

/**
 * Explains why the server could not start. An error thrown on purpose says everything. A layer's mistake is
 * shown with its place, and our own with its stack.
 */
export function startFailure(error: unknown, verbose: boolean): string {
  if (isOnPurpose(error)) return messageOf(error)
  const isOurs = [TypeError, ReferenceError, RangeError].some((kind) => isA(error, kind))
  return failureOf(error, verbose || (isOurs && placeIn(stackOf(error)) === undefined))
}

/** Formats a message as a line. */
export function messageLine(text: string): string {
  return `${program}: ${printable(text)}\n`
}

/**
 * Lets the program outlive the reader of a plugin's output. Node's streams are created only on first use:
 * with `-s`, the stream for standard output would take the client's connection.
 */
export function keepWithoutReader(): void {
  for (const name of ['stdout', 'stderr'] as const) {
    const made = Object.getOwnPropertyDescriptor(process, name)?.get
    if (made === undefined) continue
    const get = () => {
      const stream = made.call(process) as NodeJS.WriteStream
      if (!stream.listeners('error').includes(ignore)) stream.on('error', ignore)
      return stream
    }
    Object.defineProperty(process, name, { configurable: true, enumerable: true, get })
  }
}

function ignore(): void {}
