import { showBytes } from '../api/byte-text.js'
import { writeAll } from '../lib/write-all.js'

/** Prints lines on standard output. */
export function print(text: string): void {
  writeAll(1, `${text}\n`)
}

/** What stands before each message. */
let program = 'nbdkit-ts'

/** `--name`: tells the messages of this server from those of others. */
export function nameProgram(name: string): void {
  if (name !== '') program = `nbdkit-ts[${name}]`
}

/** Tells the user, on standard error, what went wrong. */
export function complain(text: string): void {
  writeAll(2, messageLine(text))
}

/** A message as it is written where lines are written. */
export function messageLine(text: string): string {
  return `${program}: ${printable(text)}\n`
}

/**
 * What a client or a file chose must not look like a line of ours, nor move the cursor of a terminal: control
 * characters are spelled out, and further lines are indented.
 */
export function printable(text: string): string {
  return showBytes(text)
    .trimEnd()
    .replaceAll(/[^\P{Cc}\n\t]/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .replaceAll('\n', '\n  ')
}
