/** Splits a text in the language of the `data` parameter into tokens. data.md explains their meaning. */
import { errorAt, type Position, type Source } from './position.js'
import { stringEnd, unescapeString } from './strings.js'

export type Token = { readonly position: Position } & (
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'move'; readonly how: Move; readonly count: number }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'script'; readonly script: string }
  | { readonly kind: 'open' }
  | { readonly kind: 'close' }
  | { readonly kind: 'repeat'; readonly count: number }
  | { readonly kind: 'slice'; readonly from: number; readonly to: number | undefined }
  | { readonly kind: 'assign'; readonly name: string }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'variable'; readonly name: string }
)
/** To an offset, forward, back, or forward to a multiple. */
export type Move = 'to' | '+' | '-' | '^'

const space = /(?:\s|#[^\n]*)*/y
/** Matches more than a number, so that `1x` is one wrong token and not a number with something after it. */
const number = String.raw`[\w.]+`
const patterns = {
  byte: /\d[\w.]*/y,
  word: new RegExp(String.raw`([lb]e)(\w*):(${number})?`, 'y'),
  move: new RegExp(String.raw`@(?:(\^|[+-])\s*)?(${number})?`, 'y'),
  file: /<([^\s*[)]*)/y,
  repeat: new RegExp(String.raw`\*\s*(-?${number})?`, 'y'),
  slice: /\[([^\]]*)\]?/y,
  assign: /->\s*(?:\\([\w-]+))?/y,
  name: /\\([\w-]*)/y,
  variable: /\$([A-Za-z_]\w*)?/y,
}

/**
 * Yields the tokens of a text in order.
 *
 * @throws ConfigError for an invalid token, with its position.
 */
export function* tokens(source: Source): Generator<Token> {
  const { text } = source
  for (let at = skip(text, 0); at < text.length; at = skip(text, at)) {
    const token = next(source, at)
    yield token
    at += token.position.token.length
  }
}

function skip(text: string, at: number): number {
  space.lastIndex = at
  return at + (space.exec(text)?.[0].length ?? 0)
}

function next(source: Source, at: number): Token {
  const { text } = source
  const first = text.charAt(at)
  if (first === '"') return stringToken(source, at)
  if (first === '(') return { kind: 'open', position: { source, at, token: first } }
  if (first === ')') return { kind: 'close', position: { source, at, token: first } }
  if (text.startsWith('<(', at)) return scriptToken(source, at)
  for (const [kind, pattern] of Object.entries(patterns)) {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match) return read(kind as keyof typeof patterns, match, { source, at, token: match[0] })
  }
  const token = /^(?:[\w.]+|.)/su.exec(text.slice(at, at + 40))?.[0] ?? ''
  throw errorAt(
    { source, at, token },
    'expected a byte, "STRING", le16:N, @OFFSET, <FILE, <(SCRIPT), (, ), *N, [N:M], -> \\NAME, \\NAME or $NAME',
  )
}

function read(kind: keyof typeof patterns, match: RegExpExecArray, position: Position): Token {
  const [whole, one = '', two = '', three = ''] = match
  switch (kind) {
    case 'byte':
      return {
        kind: 'bytes',
        bytes: Uint8Array.of(Number(integer(position, whole, 255n, 'a byte'))),
        position,
      }
    case 'word':
      return { kind: 'bytes', bytes: wordBytes(position, one, two, three), position }
    case 'move':
      return { kind: 'move', how: moveOf(one), count: offset(position, two, 'an offset after @'), position }
    case 'file':
      if (one === '') throw errorAt(position, 'expected the name of a file after <, without a space')
      return { kind: 'file', path: one, position }
    case 'repeat':
      return { kind: 'repeat', count: offset(position, one, 'a number of times after *'), position }
    case 'slice':
      return sliceToken(position, one)
    case 'assign':
      if (one === '') throw errorAt(position, 'expected \\NAME after ->')
      return { kind, name: one, position }
    case 'name':
    case 'variable':
      if (one === '') throw errorAt(position, 'expected a name')
      return { kind, name: one, position }
  }
}

function moveOf(sign: string): Move {
  return sign === '+' || sign === '-' || sign === '^' ? sign : 'to'
}

/** Parses a decimal, octal (`017`) or hexadecimal (`0xf`) number, as in C. */
function integer(position: Position, text: string, max: bigint, what: string): bigint {
  if (!/^(?:0x[0-9a-f]+|0[0-7]*|[1-9]\d*)$/i.test(text))
    throw errorAt(position, `expected ${what}: a decimal, octal (017) or hexadecimal (0xf) number`)
  const value = BigInt(/^0[0-7]+$/.test(text) ? `0o${text.slice(1)}` : text)
  if (value > max) throw errorAt(position, `expected ${what} from 0 to ${max}`)
  return value
}

const offset = (position: Position, text: string, what: string) =>
  Number(integer(position, text, BigInt(Number.MAX_SAFE_INTEGER), what))

function wordBytes(position: Position, order: string, width: string, text: string): Uint8Array {
  if (!['16', '32', '64'].includes(width))
    throw errorAt(position, 'expected le16:, le32:, le64:, be16:, be32: or be64:')
  const bits = Number(width)
  const value = integer(position, text, 2n ** BigInt(bits) - 1n, `a number of ${bits} bits after the colon`)
  const bytes = Buffer.alloc(8)
  if (order === 'le') bytes.writeBigUInt64LE(value)
  else bytes.writeBigUInt64BE(value)
  return order === 'le' ? bytes.subarray(0, bits / 8) : bytes.subarray(8 - bits / 8)
}

function sliceToken(position: Position, inside: string): Token {
  const [from, to, ...more] = inside.split(':').map((text) => text.trim())
  if (!position.token.endsWith(']') || from === undefined || to === undefined || more.length > 0)
    throw errorAt(position, 'expected [N:M], [N:] or [:M]')
  const bound = (text: string) => offset(position, text, 'numbers of bytes in [N:M]')
  return {
    kind: 'slice',
    from: from === '' ? 0 : bound(from),
    to: to === '' ? undefined : bound(to),
    position,
  }
}

function stringToken(source: Source, at: number): Token {
  const end = stringEnd(source.text, at)
  const position = { source, at, token: source.text.slice(at, end) }
  if (end === undefined) throw errorAt(position, 'the string does not end: expected " after it')
  return { kind: 'bytes', bytes: unescapeString(position), position }
}

/** A script ends at the parenthesis that matches its first. Parentheses in quotes count, too. */
function scriptToken(source: Source, at: number): Token {
  const { text } = source
  let open = 0
  for (let end = at + 1; end < text.length; end++) {
    if (text[end] === '(') open++
    if (text[end] === ')' && --open === 0) {
      const position = { source, at, token: text.slice(at, end + 1) }
      return { kind: 'script', script: text.slice(at + 2, end), position }
    }
  }
  throw errorAt({ source, at, token: text.slice(at) }, 'the script does not end: expected ) after it')
}
