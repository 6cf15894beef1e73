import { writeSync } from 'node:fs'
import { messageOf } from '../api/errors.js'

/** How long a reader may keep us waiting, in ms: a full pipe that nobody reads must not stop the server. */
const patienceMs = 1000

/**
 * Writes all of `text` before it returns, so that nothing is lost when the process ends. Where the reader has
 * gone away, or leaves a pipe full for too long, the rest is thrown away.
 */
export function writeAll(fd: number, text: string): void {
  let bytes = Buffer.from(text)
  for (let waitedMs = 0; bytes.length > 0 && waitedMs <= patienceMs; ) {
    try {
      bytes = bytes.subarray(writeSync(fd, bytes))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
      waitedMs += 10
    }
  }
}

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

/** What nobody caught: with its stack, where it has one. */
export function stackOf(error: unknown): string {
  return (error instanceof Error && error.stack) || messageOf(error)
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
  return text
    .trimEnd()
    .replaceAll(/[^\P{Cc}\n\t]/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .replaceAll('\n', '\n  ')
}
