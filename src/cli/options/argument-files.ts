/** `@PATH` on the command line: each line of the file is an argument. */
import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { absolutePath, fsPath, showBytes, textOfBytes } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'

/** The most bytes read: a device, or a pipe that never ends, would take all memory. */
const fileMax = 2 ** 20

/** The most nesting of files that name each other: more than anybody writes by hand. */
const depthMax = 10

/**
 * Expands a word that follows the plugin. Returns undefined for an ordinary word. A word names a file where
 * it begins with `@` and contains a `/`, or where the rest names a FIFO in the working directory, whose only
 * use is to be read. Other words that begin with `@` are values. Blank lines and lines that begin with `#`
 * are skipped, and blanks around a line are removed. A line may name another file, relative to the directory
 * of the first.
 *
 * @throws ConfigError when the file cannot be read, is too long or is no text.
 */
export function argumentsInFile(word: string): readonly string[] | undefined {
  return isFile(word) || isFifo(word) ? linesOf(word, absolutePath(word.slice(1)), 1) : undefined
}

function isFile(word: string): boolean {
  return word.startsWith('@') && word.includes('/')
}

function isFifo(word: string): boolean {
  try {
    return word.startsWith('@') && statSync(fsPath(absolutePath(word.slice(1)))).isFIFO()
  } catch {
    // The name is too long, or does not exist.
    return false
  }
}

function linesOf(word: string, path: string, depth: number): string[] {
  try {
    if (depth > depthMax) throw new Error(`more than ${depthMax} files of arguments name one another`)
    const lines = readText(path)
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('#'))
    return lines.flatMap((line) =>
      isFile(line) ? linesOf(line, resolve(dirname(path), line.slice(1)), depth + 1) : [line],
    )
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const otherwise = 'a value that begins with @ and has a / is given with its key, as in KEY=@VALUE'
    const message = `${showBytes(word)}: cannot read arguments: ${messageOf(error)} (${otherwise})`
    throw new ConfigError(message, { cause: error })
  }
}

/** Reads once, without checking the length before: the file may be a pipe. */
function readText(path: string): string {
  const bytes = readBounded(path)
  const nul = bytes.indexOf(0)
  if (nul >= 0) throw new Error(`it is no text: byte ${nul} is a NUL`)
  return textOfBytes(bytes)
}

function readBounded(path: string): Buffer {
  const fd = openSync(fsPath(path), 'r')
  try {
    const bytes = Buffer.alloc(fileMax + 1)
    let length = 0
    for (let got = 1; got > 0 && length <= fileMax; length += got)
      got = readSync(fd, bytes, length, bytes.length - length, null)
    if (length > fileMax) throw new Error(`it has more than ${fileMax} bytes`)
    return bytes.subarray(0, length)
  } finally {
    closeSync(fd)
  }
}
