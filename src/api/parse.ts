/**
 * Parses the values of nbdkit's command line: sizes, delays, probabilities, booleans, integers, passwords.
 * Each function returns the value, or throws an Error whose message says what was wrong and what would be
 * right.
 */
import { closeSync, readFileSync } from 'node:fs'
import { fsPath, isUtf8, textOfBytes } from './byte-text.js'
import { whyNotInherited } from './inherited.js'
import { typedLine } from './typed-line.js'

const sizeUnits: Record<string, number> = {
  b: 1,
  s: 512,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
  e: 2 ** 60,
}

/** Skips space before a number, as C does. Space after a number is never skipped. */
const start = '^[ \\t\\n\\v\\f\\r]*'
const decimal = '\\+?(?:\\d+(?:\\.\\d*)?|\\.\\d+)(?:[eE][+-]?\\d+)?'
const delay = new RegExp(`${start}(${decimal})(s|ms|us|µs|μs|ns)?$`)
const probability = new RegExp(`${start}(${decimal})(?:(%)|[:/](${decimal}))?$`)

/**
 * Parses a size such as `1G` to bytes (nbdkit_parse_size(3)): decimal digits, then a unit of b, s (512), k,
 * m, g, t, p or e.
 */
export function parseSize(text: string): number {
  const match = /^[ \t\n\v\f\r]*\+?(\d+)([bskmgtpe]?)$/i.exec(text)
  if (!match)
    throw new Error(`could not parse size "${text}": expected a number and a unit, such as 512, 64k or 1G`)
  const size = Number(match[1]) * (sizeUnits[(match[2] ?? '').toLowerCase() || 'b'] ?? 1)
  if (!Number.isSafeInteger(size))
    throw new Error(`size "${text}" is too large: the largest is ${Number.MAX_SAFE_INTEGER} (8 PiB - 1)`)
  return size
}

/**
 * Parses an integer (nbdkit_parse_int(3)): decimal, hexadecimal (`0x…`) or octal (`0…`), within `min` and
 * `max`.
 */
export function parseInteger(text: string, min: number, max: number): number {
  const match = /^[ \t\n\v\f\r]*([+-]?)(0x[0-9a-f]+|0[0-7]*|[1-9]\d*)$/i.exec(text)
  if (!match) throw new Error(`could not parse number: "${text}"`)
  const digits = match[2] ?? ''
  if (match[1] === '-' && min >= 0)
    throw new Error(`${text.trim()} is out of range: expected an integer from ${min} to ${max}`)
  const octal = /^0[0-7]+$/.test(digits)
  const value = Number(octal ? `0o${digits}` : digits) * (match[1] === '-' ? -1 : 1)
  return checkRange(value, min, max)
}

export function checkRange(value: number, min: number, max: number): number {
  if (!Number.isSafeInteger(value) || value < min || value > max)
    throw new Error(`${value} is out of range: expected an integer from ${min} to ${max}`)
  return value
}

export const descriptorMax = 2 ** 31 - 1

/** Parses the number of an inherited file descriptor. */
export function parseDescriptor(text: string, min: number): number {
  const fd = parseInteger(text, min, descriptorMax)
  const why = whyNotInherited(fd)
  if (why !== undefined) throw new Error(why)
  return fd
}

/** Parses a boolean (nbdkit_parse_bool(3)). */
export function parseBoolean(text: string): boolean {
  const word = text.toLowerCase()
  if (['1', 'true', 't', 'yes', 'y', 'on'].includes(word)) return true
  if (['0', 'false', 'f', 'no', 'n', 'off'].includes(word)) return false
  throw new Error(`could not decipher boolean (true or false): "${text}"`)
}

const delayUnits: Record<string, number> = {
  '': 1000,
  s: 1000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ns: 1e-6,
}

/** Parses a delay such as `10ms` to milliseconds (nbdkit_parse_delay(3)). A bare number is seconds. */
export function parseDelay(text: string): number {
  const match = delay.exec(text)
  if (!match)
    throw new Error(`could not parse delay "${text}": expected seconds, or a number with ms, us or ns`)
  return checkDelay(Number(match[1]) * (delayUnits[match[2] ?? ''] ?? 0))
}

/** Node's timers count in 32 bits: a longer delay would fire at once. */
export function checkDelay(ms: number): number {
  if (!(ms >= 0 && ms <= 2 ** 31 - 1))
    throw new Error(`a delay of ${ms} ms is out of range: 0 to ${2 ** 31 - 1} ms`)
  return ms
}

/** Parses a probability to 0 to 1 (nbdkit_parse_probability(3)): `0.1`, `10%`, `1:10` or `1/10`. */
export function parseProbability(text: string): number {
  const match = probability.exec(text)
  if (!match) throw new Error(`could not parse probability "${text}": expected such as 0.1, 10% or 1:10`)
  const [part, whole] = [Number(match[1]), match[2] ? 100 : Number(match[3] ?? 1)]
  return checkProbability(part === 0 && match[3] !== undefined ? 0 : part / whole)
}

export function checkProbability(value: number): number {
  if (!(value >= 0 && value <= 1)) throw new Error(`probability ${value} is out of range: expected 0 to 1`)
  return value
}

/**
 * Reads a password (nbdkit_read_password(3)): the text itself, `+FILE` for the first line of a file, `-FD`
 * for the first line of an inherited file descriptor, or `-` for a line typed at the terminal.
 */
export function readPassword(text: string): string {
  const password = passwordOf(text)
  if (isUtf8(password)) return password
  throw new Error('the password is not UTF-8')
}

function passwordOf(text: string): string {
  if (text.startsWith('+')) return firstLine(readFileSync(fsPath(text.slice(1))))
  if (text === '-') {
    if (!process.getBuiltinModule('node:tty').isatty(0))
      throw new Error('password "-" is read from a terminal, and standard input is none')
    return typedLine('password: ')
  }
  if (!text.startsWith('-')) return text
  const fd = parseDescriptor(text.slice(1), 0)
  if (fd <= 2) throw new Error(`password "-${fd}" cannot be read from stdin, stdout or stderr`)
  try {
    return firstLine(readFileSync(fd))
  } finally {
    closeSync(fd)
  }
}

function firstLine(text: Buffer): string {
  return textOfBytes(text).split('\n', 1)[0] ?? ''
}
