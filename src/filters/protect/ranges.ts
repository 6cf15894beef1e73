import { ConfigError } from '../../api/errors.js'
import { parseBigInteger } from '../../lib/big-integer.js'
import { type Range, spansOf } from '../../lib/spans.js'

/** A value of the command line, and the ranges that it protects. */
export interface Rule {
  readonly text: string
  readonly ranges: readonly Range[]
}

/** The largest offset of nbdkit. Ours are smaller: see docs/decisions/0001-offsets-are-numbers.md. */
const largest = 2n ** 63n - 1n
const noEnd = Number.MAX_SAFE_INTEGER

/**
 * Parses `START-END`, where either may be missing, or `~START-END` for all bytes but those.
 *
 * @throws ConfigError for any other text.
 */
export function parseRule(text: string): Rule {
  const wrong = (why: string) => new ConfigError(`protect: protect=${text}: ${why}`)
  const [matched, tilde, first = '', last = ''] = /^(~?)([^-]*)-([^-]*)$/.exec(text) ?? []
  const [from, to] = [parseBigInteger(first || '0'), parseBigInteger(last || String(largest))]
  if (matched === undefined || from === undefined || to === undefined)
    throw wrong('expected START-END or ~START-END, in bytes: decimal, 0x… or 0…')
  if (from > largest || to > largest) throw wrong(`a number is above the largest, ${largest}`)
  if (to < from) throw wrong('the end lies before the start')
  const [start, end] = [clamped(from), clamped(to + 1n)]
  const all =
    tilde === ''
      ? [{ start, end }]
      : [
          { start: 0, end: start },
          { start: end, end: noEnd },
        ]
  return { text, ranges: all.filter((range) => range.start < range.end) }
}

/** No disk reaches this far, so that the exact number does not matter. */
function clamped(offset: bigint): number {
  return offset > BigInt(noEnd) ? noEnd : Number(offset)
}

/** The same bytes in ascending order, without overlaps and without neighbours that touch. */
export function merged(ranges: readonly Range[]): readonly Range[] {
  const result: Range[] = []
  for (const { start, end } of ranges.toSorted((one, other) => one.start - other.start)) {
    const last = result.at(-1)
    if (last === undefined || last.end < start) result.push({ start, end })
    else result[result.length - 1] = { start: last.start, end: Math.max(last.end, end) }
  }
  return result
}

/** The parts of `offset` to `offset + length` that lie in merged ranges. */
export function overlaps(ranges: readonly Range[], offset: number, length: number): readonly Range[] {
  return [...spansOf(ranges, offset, length)].filter(({ range }) => range !== undefined)
}
