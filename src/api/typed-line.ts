/** Reads a line typed at the terminal, without showing it. */
import { readSync, writeSync } from 'node:fs'
import { textOfBytes } from './byte-text.js'

/** Time between two attempts to read a key where the terminal does not block, in ms. */
const lookMs = 20

/** Bytes that keys send to a program that reads them one by one. */
const keys = { interrupt: 3, end: 4, backspace: 8, lineFeed: 10, enter: 13, clear: 21, erase: 127 }

/**
 * Prompts for a line on standard error and waits for its end. The terminal echoes again however this ends. In
 * between, Ctrl-C is an ordinary key and not a signal.
 *
 * @throws Error after Ctrl-C, unless that has ended the process.
 */
export function typedLine(prompt: string): string {
  const terminal = new (process.getBuiltinModule('node:tty').ReadStream)(0)
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
      // Another program that shares the terminal may have made it non-blocking.
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
  // Erases all bytes of a UTF-8 character: those behind the first begin with the bits 10.
  else while (((line.pop() ?? 0) & 0xc0) === 0x80);
}
