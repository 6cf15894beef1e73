/**
 * Parses the output of scripts (nbdkit-sh-plugin(3), "Methods"). Each function throws an Error that says what
 * was found.
 */
import { type BlockSize, type Extent, HOLE, type Support, ZERO } from '../../api/device.js'
import { parseSize } from '../../api/parse.js'
import type { Concurrency, Export } from '../../api/plugin.js'

/** `1048576`, `1M`. */
export function readSize(text: string): number {
  return parseSize(text.trim())
}

/** Reads three sizes: minimum, preferred and maximum. Undefined where all are zero. */
export function readBlockSize(text: string): BlockSize | undefined {
  const words = text.trim().split(/\s+/)
  const [minimum, preferred, maximum] = words.map(parseBlockSize)
  if (minimum === undefined || preferred === undefined || maximum === undefined || words.length > 3)
    throw new Error(`expected three sizes, got ${JSON.stringify(text)}`)
  return minimum === 0 && preferred === 0 && maximum === 0 ? undefined : { minimum, preferred, maximum }
}

/** C writes "no maximum" as 32 bits of ones, and scripts write it as -1. */
function parseBlockSize(word: string): number {
  return word === '-1' ? 0xffffffff : parseSize(word)
}

export function readSupport(text: string): Support {
  const word = text.trim()
  if (word === 'none' || word === 'emulate' || word === 'native') return word
  throw new Error(`expected none, emulate or native, got ${JSON.stringify(text)}`)
}

/** Undefined for a word that names no model. */
export function readThreadModel(text: string): Concurrency | undefined {
  const word = text.trim().toLowerCase().replaceAll('_', '-')
  switch (word) {
    case 'serialize-connections':
    case 'serialize-all-requests':
    case 'serialize-requests':
    case 'parallel':
      return word
    default:
      return undefined
  }
}

/**
 * Reads a list of exports. The first line names the format of the others. If it names no format, it is an
 * export itself.
 */
export function readExports(text: string): Export[] {
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  const [form, ...rest] = lines
  switch (form) {
    case undefined:
      return []
    case 'NAMES':
      return rest.map((name) => ({ name }))
    case 'INTERLEAVED':
      return rest.flatMap((name, index) => (index % 2 === 0 ? [described(name, rest[index + 1])] : []))
    case 'NAMES+DESCRIPTIONS': {
      const count = Math.ceil(rest.length / 2)
      return rest.slice(0, count).map((name, index) => described(name, rest[count + index]))
    }
    default:
      return lines.map((name) => ({ name }))
  }
}

function described(name: string, description: string | undefined): Export {
  return description === undefined || description === '' ? { name } : { name, description }
}

/**
 * Reads lines with an offset, a length and an optional type, in ascending order without gaps. Blank lines and
 * lines that begin with `#` are ignored.
 *
 * @returns runs from `offset` on.
 */
export function readExtents(text: string, offset: number): Extent[] {
  const runs: Extent[] = []
  let end: number | undefined
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/)
    if (words[0] === '' || words[0]?.startsWith('#')) continue
    const [start, length] = [words[0], words[1]].map((word) => parseSize(word ?? ''))
    if (start === undefined || length === undefined) continue
    if (end !== undefined && start !== end)
      throw new Error(`extents: "${line}" begins at ${start}, the one before ends at ${end}`)
    if (end === undefined && start > offset)
      throw new Error(`extents: the first begins at ${start}, asked for was ${offset}`)
    end = start + length
    const from = Math.max(start, offset)
    if (end > from) runs.push({ length: end - from, type: readType(words[2] ?? '') })
  }
  if (runs.length === 0) throw new Error(`extents: none was given at ${offset}`)
  return runs
}

/**
 * Reads the type of an extent: bits as a decimal number, ignoring any text after the digits, or a word that
 * nbdkit searches for `hole` and `zero`. Anything else is data.
 */
function readType(word: string): number {
  const [digits] = /^[+-]?\d+/.exec(word) ?? []
  // Only the lowest bits of a number count, whatever its size: -1 has them all.
  if (digits !== undefined) return Number(BigInt.asUintN(32, BigInt(digits.replace('+', '')))) & (HOLE | ZERO)
  return (word.includes('hole') ? HOLE : 0) | (word.includes('zero') ? ZERO : 0)
}
