/** In the background: the process that started this one, and waits until clients can connect. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { devNull } from 'node:os'
import type { ParsedLine } from '../options/parse-options.js'

/**
 * The environment variable with the number of the descriptor on which that process sends the command line and
 * waits.
 */
export const readyVariable = 'NBDKIT_TS_READY_FD'

export interface Starter {
  readonly fd: number
  /** The command line as that process read it: argument files may be pipes, which can only be read once. */
  readonly commandLine: ParsedLine
  /**
   * Releases the starting process, and everything that would keep its terminal or pipes open.
   *
   * @param keepStandardError messages go to standard error as long as it exists.
   * @throws Error when the starting process is gone: nobody wants this server any more.
   */
  ready(keepStandardError: boolean): void
}

/** Undefined in the foreground. Removes the variable, which is for no other process. */
export function starter(): Starter | undefined {
  const text = process.env[readyVariable]
  delete process.env[readyVariable]
  if (text === undefined || !/^\d+$/.test(text)) return undefined
  const fd = Number(text)
  return {
    fd,
    commandLine: JSON.parse(readLine(fd)) as ParsedLine,
    ready(keepStandardError) {
      process.chdir('/')
      for (const standard of keepStandardError ? [0, 1] : [0, 1, 2]) becomeNull(standard)
      writeSync(fd, '\n')
      closeSync(fd)
    },
  }
}

/** Opening takes the lowest free number, which is the one just closed unless a thread of Node was faster. */
function becomeNull(fd: number): void {
  closeSync(fd)
  if (openSync(devNull, 'r+') !== fd) throw new Error(`file descriptor ${fd} was taken by another file`)
}

/** @throws Error when the process has ended before the line was complete. */
function readLine(fd: number): string {
  const chunks: Buffer[] = []
  for (;;) {
    const chunk = Buffer.alloc(65536)
    const length = readSync(fd, chunk)
    if (length === 0) throw new Error('the process that started this one has ended')
    chunks.push(chunk.subarray(0, length))
    if (chunk[length - 1] === newline) return Buffer.concat(chunks).toString()
  }
}

const newline = 10
