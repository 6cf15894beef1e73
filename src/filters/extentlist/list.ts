import { type Extent, HOLE, ZERO } from '../../api/device.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import { parseSize } from '../../api/parse.js'
import { type Range, spansOf } from '../../lib/spans.js'

/** A line of the file: the type of a range of bytes. */
export interface Run extends Range {
  readonly type: number
  /** For messages. The first line is 1. */
  readonly line: number
}

/**
 * Parses the text of a file, which has an offset, a length and a type on each line. Returns the runs in
 * ascending order.
 *
 * @throws ConfigError that names the file and the line.
 */
export function parseList(text: string, path: string): readonly Run[] {
  const runs = text.split('\n').flatMap((line, index) => parseLine(line, index + 1, path))
  runs.sort((one, other) => one.start - other.start)
  let last: Run | undefined
  for (const run of runs) {
    if (last && run.start < last.end)
      throw new ConfigError(
        `extentlist: ${path}: line ${run.line} overlaps line ${last.line}: ` +
          `one begins at ${run.start}, and the other ends at ${last.end}`,
      )
    last = run
  }
  return runs
}

/** The run of a line; none where the line is empty, a comment, or has a length of zero. */
function parseLine(text: string, line: number, path: string): Run[] {
  const words = text.split(/[ \t\r]+/).filter((word) => word !== '')
  const [first, second, third = '0'] = words
  if (first === undefined || first.startsWith('#')) return []
  try {
    if (second === undefined) throw new Error('expected an offset, a length and a type')
    const [start, length] = [parseSize(first), parseSize(second)]
    const end = start + length
    if (!Number.isSafeInteger(end))
      throw new Error(`${length} bytes at ${start} end behind the largest offset`)
    return length === 0 ? [] : [{ start, end, type: parseType(third), line }]
  } catch (error) {
    throw new ConfigError(`extentlist: ${path}: line ${line}: ${messageOf(error)}`, { cause: error })
  }
}

const bits = new Map([
  ['data', 0],
  ['hole', HOLE],
  ['zero', ZERO],
])

function parseType(word: string): number {
  if (/^\d+$/.test(word)) {
    const type = Number(word)
    if (type > 0xffffffff) throw new Error(`the type ${word} is above 4294967295`)
    return type
  }
  let type = 0
  for (const name of word.split(',')) {
    const bit = bits.get(name)
    if (bit === undefined)
      throw new Error(`"${name}" is no type: expected a number, or hole and zero, joined by a comma`)
    type |= bit
  }
  return type
}

/** The runs of `length` bytes at `offset`. What the list does not name is a hole. */
export function* extentsOf(list: readonly Run[], offset: number, length: number): Generator<Extent> {
  for (const { start, end, range } of spansOf(list, offset, length))
    yield { length: end - start, type: range ? range.type : HOLE | ZERO }
}
