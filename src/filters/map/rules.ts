import { ConfigError } from '../../api/errors.js'
import { spansOf } from '../../lib/spans.js'

/** A rule of the command line, `START-END:DEST`, in bytes. Here `end` is the first byte behind the range. */
export interface Rule {
  readonly text: string
  readonly start: number
  readonly end: number
  readonly destination: number
}

/** A part of a request: a range of the disk below. */
export interface Piece {
  /** In bytes, on the disk below. */
  readonly offset: number
  readonly length: number
  /** The rule that leads there; undefined where no rule covers the range. */
  readonly rule: Rule | undefined
}

/** The largest offset of nbdkit. Ours are smaller: see docs/decisions/0001-offsets-are-numbers.md. */
const largest = 2n ** 63n - 1n

/** @throws ConfigError for a text that is no rule. */
export function parseRule(text: string): Rule {
  const wrong = (why: string) => new ConfigError(`map: map=${text}: ${why}`)
  const [, ...digits] = /^(\d+)-(\d+):(\d+)$/.exec(text) ?? []
  if (digits.length === 0) throw wrong('expected START-END:DEST, three decimal numbers of bytes')
  const numbers = digits.map(BigInt)
  if (numbers.some((number) => number > largest)) throw wrong(`a number is above the largest, ${largest}`)
  const [start = 0, end = 0, destination = 0] = numbers.map(clamped)
  if (BigInt(digits[1] ?? 0) < BigInt(digits[0] ?? 0)) throw wrong('the end lies before the start')
  return { text, start, end: Math.min(end + 1, Number.MAX_SAFE_INTEGER), destination }
}

/** No disk reaches this far, so that the exact number does not matter. */
function clamped(number: bigint): number {
  return number > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(number)
}

/**
 * The ranges that the rules cover, in ascending order and without overlaps: for each byte the first rule that
 * covers it counts. Each range is a rule, shortened or split where others came first.
 */
export function tableOf(rules: readonly Rule[]): readonly Rule[] {
  const table: Rule[] = []
  for (const rule of rules) {
    const free: Rule[] = []
    let { start } = rule
    for (const taken of table) {
      if (taken.end <= start) continue
      if (taken.start >= rule.end) break
      if (taken.start > start) free.push(part(rule, start, taken.start))
      start = taken.end
    }
    if (start < rule.end) free.push(part(rule, start, rule.end))
    table.push(...free)
    table.sort((one, other) => one.start - other.start)
  }
  return table
}

function part(rule: Rule, start: number, end: number): Rule {
  return { ...rule, start, end, destination: rule.destination + (start - rule.start) }
}

/** Splits a range, in bytes, where its way to the disk below changes. In ascending order. */
export function* piecesOf(table: readonly Rule[], offset: number, length: number): Generator<Piece> {
  for (const { start, end, range: rule } of spansOf(table, offset, length))
    yield { offset: rule ? rule.destination + (start - rule.start) : start, length: end - start, rule }
}
