import { isOnPurpose, placeIn } from '../api/error-text.js'
import { isA, messageOf, stackOf } from '../api/errors.js'
import { failureOf } from '../chain/blame.js'
import { printable } from '../lib/printable.js'
import { writeStandard } from '../lib/standard-streams.js'

/** Prints lines on standard output. */
export function print(text: string): void {
  writeStandard(1, `${text}\n`)
}

/** What stands before each message. */
let program = 'nbdkit-ts'

/** `--name`: tells the messages of this server from those of others. */
export function nameProgram(name: string): void {
  if (name !== '') program = `nbdkit-ts[${name}]`
}

/** Tells the user, on standard error, what went wrong. */
export function complain(text: string): void {
  writeStandard(2, messageLine(text))
}

/**
 * Why it could not start. What was said on purpose says all; a mistake of a layer is told with its place, and
 * one of ours with its stack.
 */
export function startFailure(error: unknown, verbose: boolean): string {
  if (isOnPurpose(error)) return messageOf(error)
  const isOurs = [TypeError, ReferenceError, RangeError].some((kind) => isA(error, kind))
  return failureOf(error, verbose || (isOurs && placeIn(stackOf(error)) === undefined))
}

/** A message as it is written where lines are written. */
export function messageLine(text: string): string {
  return `${program}: ${printable(text)}\n`
}

/**
 * Lets the program outlive whoever reads what a plugin prints. The streams of Node are made when they are
 * first used, and not before: with `-s` that of standard output would take the client's.
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
