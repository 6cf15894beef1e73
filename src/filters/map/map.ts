import type { Device, DeviceInit, Extent } from '../../api/device.js'
import { ConfigError, NbdError } from '../../api/errors.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { inTurns } from '../../api/turns.js'
import { type Piece, parseRule, piecesOf, type Rule, tableOf } from './rules.js'

/** Moves ranges of a disk to other places (nbdkit-map-filter(1)). */
export default defineFilter({
  name: 'map',
  description: 'moves ranges of bytes to other places of the disk',
  params: {
    rules: param.strings({
      keys: ['map'],
      default: [],
      doc: 'START-END:DEST: the bytes from START to END are those from DEST on, of the disk below.',
    }),
    size: param.size({ keys: ['map-size'], doc: 'The size; that of the disk below unless given.' }),
  },
  threads: 'isolated',
  setup({ rules, size }, { log }) {
    const table = tableOf(rules.map(parseRule))
    if (log.debugging)
      for (const { start, end, destination, text } of table)
        log.debug(`bytes ${start} to ${end - 1} are at ${destination} (map=${text})`)
    return {
      async open(request, next) {
        const device = await next(request)
        checkAlignment(table, device)
        return mapped(device, table, size ?? device.size)
      },
    }
  },
})

/** @throws ConfigError where a rule would split a block of the disk below. */
function checkAlignment(table: readonly Rule[], { blockSize: { minimum } }: Device): void {
  const aligned = (offset: number) => offset % minimum === 0 || offset === Number.MAX_SAFE_INTEGER
  const wrong = table.find((rule) => ![rule.start, rule.end, rule.destination].every(aligned))
  if (wrong)
    throw new ConfigError(
      `map: map=${wrong.text} splits a block of the disk below, which has ${minimum} bytes`,
    )
}

function mapped(device: Device, table: readonly Rule[], size: number): DeviceInit {
  /** All pieces of a request. Checked first, so that a request that fails has changed nothing. */
  const pieces = (what: string, offset: number, length: number): readonly Piece[] => {
    const found = [...piecesOf(table, offset, length)]
    const beyond = found.find((piece) => isBeyond(piece, device))
    if (beyond) throw beyondTheEnd(`${what} ${length} at ${offset}`, beyond, device)
    return found
  }
  const each =
    <Flags>(
      what: string,
      operation: (offset: number, length: number, flags: Flags) => MaybePromise<void>,
    ): typeof operation =>
    (offset, length, flags) =>
      inOrder(pieces(what, offset, length), (piece) => operation(piece.offset, piece.length, flags))
  return {
    ...device,
    size,
    read(offset, length, alloc) {
      const found = pieces('read', offset, length)
      const [first] = found
      if (found.length === 1 && first) return device.read(first.offset, length, alloc)
      const parts: Uint8Array[] = []
      const done = inOrder(found, (piece) =>
        andThen(device.read(piece.offset, piece.length, alloc), (data) => {
          parts.push(...(data instanceof Uint8Array ? [data] : data))
        }),
      )
      return andThen(done, () => parts)
    },
    write(offset, data, flags) {
      const found = pieces('write', offset, data.length)
      const [first] = found
      // The very view, because the disk below may have lent it.
      if (found.length === 1 && first) return device.write(first.offset, data, flags)
      let at = 0
      return inOrder(found, (piece) => {
        const bytes = data.subarray(at, at + piece.length)
        at += piece.length
        return device.write(piece.offset, bytes, flags)
      })
    },
    window(offset, length) {
      const [first, second] = piecesOf(table, offset, length)
      if (first === undefined || second !== undefined || isBeyond(first, device)) return undefined
      return device.window(first.offset, length)
    },
    trim: each('trim', device.trim),
    zero: each('zero', device.zero),
    cache: (offset, length) =>
      inOrder(pieces('cache', offset, length), (piece) => device.cache(piece.offset, piece.length)),
    extents: (offset, length, context) => mappedExtents(device, table, { offset, length, context }),
  }
}

function inOrder(pieces: readonly Piece[], work: (piece: Piece) => MaybePromise<void>): MaybePromise<void> {
  const [first] = pieces
  if (pieces.length === 1 && first) return work(first)
  const left = pieces.values()
  return inTurns(() => {
    const { value: piece } = left.next()
    return piece === undefined ? false : andThen(work(piece), () => true)
  })
}

/**
 * The extents of all pieces, one after the other. Where the disk below tells less than it was asked for, or
 * ends, the answer ends too: a client asks again for the rest.
 */
function mappedExtents(
  device: Device,
  table: readonly Rule[],
  { offset, length, context }: { readonly offset: number; readonly length: number; readonly context: string },
): MaybePromise<Iterable<Extent>> {
  const all: Extent[] = []
  const pieces = piecesOf(table, offset, length)
  const collected = inTurns(() => {
    const { value: piece } = pieces.next()
    if (!piece) return false
    const inside = Math.min(piece.length, device.size - piece.offset)
    if (inside <= 0) {
      if (all.length > 0) return false
      throw beyondTheEnd(`extents ${length} at ${offset}`, piece, device)
    }
    return andThen(device.extents(piece.offset, inside, context), (runs) => {
      let left = inside
      for (const { length: run, type } of runs) {
        all.push({ length: Math.min(run, left), type })
        left -= run
        if (left <= 0) break
      }
      return left <= 0 && inside === piece.length
    })
  })
  return andThen(collected, () => all)
}

function isBeyond({ offset, length }: Piece, { size }: Device): boolean {
  return offset + length > size
}

function beyondTheEnd(what: string, { offset, length, rule }: Piece, { size }: Device): NbdError {
  const how = rule ? `map=${rule.text} leads to` : 'no rule leads elsewhere than to'
  return new NbdError(
    'EIO',
    `map: ${what}: ${how} ${length} bytes at ${offset}, and the disk below ends at ${size}`,
  )
}
