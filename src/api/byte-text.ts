/**
 * Text of the system, such as command line words and file names, which need not be UTF-8. Each byte outside
 * UTF-8 is kept as a lone surrogate, U+DC80 to U+DCFF, which never occurs in proper text. Every such text is
 * thus a string here, and turns into the same bytes again where the system takes bytes.
 */
import { readlinkSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const strayByte = /[\udc80-\udcff]/u
const strayBytes = /[\udc80-\udcff]/gu

export function textOfBytes(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    return decodeWithStrays(bytes)
  }
}

/** Decodes runs of UTF-8. A byte that begins no character becomes a surrogate. */
function decodeWithStrays(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; ) {
    const length = characterLength(bytes, at)
    text +=
      length === 0
        ? String.fromCharCode(0xdc00 + (bytes[at] ?? 0))
        : utf8.decode(bytes.subarray(at, at + length))
    at += Math.max(length, 1)
  }
  return text
}

/** The length in bytes of the character at `at`; 0 where no character begins. */
function characterLength(bytes: Uint8Array, at: number): number {
  for (const length of [1, 2, 3, 4]) {
    try {
      if (utf8.decode(bytes.subarray(at, at + length)) !== '') return at + length <= bytes.length ? length : 0
    } catch {
      // The character is longer, or there is none.
    }
  }
  return 0
}

export function bytesOfText(text: string): Buffer {
  if (isUtf8(text)) return Buffer.from(text)
  const parts: Buffer[] = []
  let from = 0
  for (const { index } of text.matchAll(strayBytes)) {
    parts.push(Buffer.from(text.slice(from, index)), Buffer.of(text.charCodeAt(index) - 0xdc00))
    from = index + 1
  }
  return Buffer.concat([...parts, Buffer.from(text.slice(from))])
}

/** False for a text that stands for bytes outside UTF-8. */
export function isUtf8(text: string): boolean {
  return !strayByte.test(text)
}

/** @throws Error for a text that stands for bytes outside UTF-8, which would not survive as a string. */
export function requireUtf8(text: string): string {
  if (isUtf8(text)) return text
  throw new Error(`"${showBytes(text)}" is not UTF-8, and cannot be used here`)
}

/** For a message: shows bytes outside UTF-8 as `\xff`. */
export function showBytes(text: string): string {
  return text.replace(strayBytes, (stray) => `\\x${(stray.charCodeAt(0) - 0xdc00).toString(16)}`)
}

/** For the functions of `node:fs`: a string where it gives the same bytes, else a Buffer. */
export function fsPath(path: string): string | Buffer {
  return isUtf8(path) ? path : bytesOfText(path)
}

/** Same as `resolve` of `node:path`, but also works in a directory whose name is not UTF-8. */
export function absolutePath(path: string): string {
  return isAbsolute(path) ? resolve(path) : resolve(workingDirectory(), path)
}

/** Node's `process.cwd` puts U+FFFD where it cannot decode. */
function workingDirectory(): string {
  const directory = process.cwd()
  if (!directory.includes('\ufffd') || process.platform !== 'linux') return directory
  return textOfBytes(readlinkSync('/proc/self/cwd', 'buffer'))
}

/** Splits a list in which each word ends with a NUL, the form in which the system passes lists. */
export function splitAtNul(list: Buffer): Buffer[] {
  const words: Buffer[] = []
  for (let from = 0; from < list.length; ) {
    const found = list.indexOf(0, from)
    const end = found < 0 ? list.length : found
    words.push(list.subarray(from, end))
    from = end + 1
  }
  return words
}
