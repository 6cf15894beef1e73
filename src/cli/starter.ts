/** In the background: the process that started this one, and waits until clients can connect. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { devNull } from 'node:os'
import type { CommandLine } from './parse-options.js'

/** The environment has the number of the descriptor on which it waits, and on which it says what to serve. */
export const readyVariable = 'NBDKIT_TS_READY_FD'

export interface Starter {
  readonly fd: number
  /** As it has read it: files of arguments, which may be pipes, can be read but once. */
  readonly commandLine: CommandLine
  /**
   * Lets it go, with all that would keep its terminal or pipes.
   *
   * @param keepStandardError messages go there for as long as it lives.
   * @throws Error when it has gone away: nobody wants this server any more.
   */
  ready(keepStandardError: boolean): void
}

/** Undefined in the foreground. The variable is taken away: it is for no other process. */
export function starter(): Starter | undefined {
  const text = process.env[readyVariable]
  delete process.env[readyVariable]
  if (text === undefined || !/^\d+$/.test(text)) return undefined
  const fd = Number(text)
  return {
    fd,
    commandLine: JSON.parse(readLine(fd)) as CommandLine,
    ready(keepStandardError) {
      process.chdir('/')
      for (const standard of keepStandardError ? [0, 1] : [0, 1, 2]) becomeNull(standard)
      writeSync(fd, '\n')
      closeSync(fd)
    },
  }
}

/** The lowest free number is taken, which is the one just closed, unless a thread of Node was faster. */
function becomeNull(fd: number): void {
  closeSync(fd)
  if (openSync(devNull, 'r+') !== fd) throw new Error(`file descriptor ${fd} was taken by another file`)
}

/** @throws Error when it has gone away before all was said. */
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
