/** A line that is typed at the terminal, and not shown. */
import { readSync, writeSync } from 'node:fs'
import { ReadStream } from 'node:tty'
import { textOfBytes } from './byte-text.js'

/** How often it is looked for the next key where the terminal does not wait for it. */
const lookMs = 20

/** What keys send to a program that reads them one by one. */
const keys = { interrupt: 3, end: 4, backspace: 8, lineFeed: 10, enter: 13, clear: 21, erase: 127 }

/**
 * Asks for a line on standard error, and waits for its end. The terminal shows again what is typed however
 * this ends: Ctrl-C is a key like others here, and not yet a signal.
 *
 * @throws Error after Ctrl-C, unless that has ended the process.
 */
export function typedLine(prompt: string): string {
  const terminal = new ReadStream(0)
  const line: number[] = []
  let last: number | undefined
  terminal.setRawMode(true)
  try {
    writeSync(2, prompt)
    while (!isEnd(last)) {
      last = nextKey()
      edit(line, last)
    }
  } finally {
    terminal.setRawMode(false)
    terminal.destroy()
    writeSync(2, '\n')
  }
  if (last === keys.interrupt) {
    process.kill(process.pid, 'SIGINT')
    throw new Error('it was interrupted while it was typed')
  }
  return textOfBytes(Buffer.from(line))
}

function nextKey(): number {
  const byte = Buffer.alloc(1)
  for (;;)
    try {
      return readSync(0, byte) === 1 ? byte.readUInt8() : keys.end
    } catch (error) {
      // Whoever shares the terminal may have made it one that does not wait.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lookMs)
    }
}

function isEnd(key: number | undefined): boolean {
  const ends = [keys.interrupt, keys.end, keys.lineFeed, keys.enter]
  return key !== undefined && ends.includes(key)
}

function edit(line: number[], key: number): void {
  if (isEnd(key)) return
  if (key === keys.clear) line.length = 0
  else if (key !== keys.erase && key !== keys.backspace) line.push(key)
  // All bytes of a character of UTF-8: those behind the first begin with the bits 10.
  else while (((line.pop() ?? 0) & 0xc0) === 0x80);
}
