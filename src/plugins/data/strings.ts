/** Strings in double quotes, with the escapes of C. */
import { bytesOfText } from '../../api/byte-text.js'
import { errorAt, type Position } from './position.js'

/** The end of the string that begins at `at`, behind its second quote. Undefined when there is none. */
export function stringEnd(text: string, at: number): number | undefined {
  for (let end = at + 1; end < text.length; end++) {
    if (text[end] === '\\') end++
    else if (text[end] === '"') return end + 1
  }
  return undefined
}

const letters: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  e: '\x1b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}
/** A backslash with its escape, or a run of text without a backslash. */
const piece = /\\(x[\da-fA-F]{0,2}|[0-7]{1,3}|u[\da-fA-F]{0,4}|U[\da-fA-F]{0,8}|.)|[^\\]+/gsu

/**
 * The bytes of a string with its quotes: UTF-8, except for `\xFF` and `\377`, which are one byte.
 *
 * @throws ConfigError for an invalid number, or one that is too large.
 */
export function unescapeString(position: Position): Buffer {
  const parts: Buffer[] = []
  for (const [text, escaped] of position.token.slice(1, -1).matchAll(piece))
    parts.push(escaped === undefined ? bytesOfText(text) : unescaped(position, escaped))
  return Buffer.concat(parts)
}

function unescaped(position: Position, escaped: string): Buffer {
  const [kind = '', digits] = [escaped.charAt(0), escaped.slice(1)]
  if (/[0-7]/.test(kind)) return byte(position, escaped, Number.parseInt(escaped, 8))
  if (kind === 'x') {
    if (digits === '') throw errorAt(position, 'expected hexadecimal digits after \\x')
    return byte(position, escaped, Number.parseInt(digits, 16))
  }
  if (kind === 'u' || kind === 'U') {
    const point = Number.parseInt(digits, 16)
    if (digits.length !== (kind === 'u' ? 4 : 8) || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
      throw errorAt(
        position,
        `\\${escaped} is no character: expected \\u and 4, or \\U and 8 hexadecimal digits`,
      )
    return Buffer.from(String.fromCodePoint(point))
  }
  return bytesOfText(letters[kind] ?? escaped)
}

function byte(position: Position, escaped: string, value: number): Buffer {
  if (value > 255) throw errorAt(position, `\\${escaped} is no byte: the largest is \\377`)
  return Buffer.of(value)
}
