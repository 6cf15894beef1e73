/** Aligns the extents of a device whose clients use larger units than the device below. */
import type { Device, Extent } from '../api/device.js'
import { andThen, type MaybePromise } from '../api/maybe.js'

/** A unit that the runs so far fill only in part, with the type bits that its bytes share. */
interface PartialUnit {
  length: number
  type: number
}

/**
 * Makes each run consist of whole units of `unit` bytes. A unit in which several runs meet gets the type bits
 * that all of them share, so that data wins over a hole. Requested offsets and lengths must be whole units.
 * Only at the end of a disk may the last unit be shorter.
 */
export function alignExtents(extents: Device['extents'], unit: number): Device['extents'] {
  return (offset, length, context) => {
    const partial: PartialUnit = { length: 0, type: -1 }
    const from = (at: number): MaybePromise<Iterable<Extent>> =>
      andThen(extents(at, offset + length - at, context), (runs) => {
        const units = wholeUnits(runs, unit, partial)
        const first = units.next()
        if (!first.done) return chain(first.value, units)
        if (partial.length >= length) return [{ length, type: partial.type }]
        // The runs ended within the first unit: ask for the rest of that unit.
        return from(offset + partial.length)
      })
    return from(offset)
  }
}

function* wholeUnits(runs: Iterable<Extent>, unit: number, partial: PartialUnit): Generator<Extent> {
  for (const { length, type } of runs) {
    let left = length
    if (partial.length > 0) {
      const taken = Math.min(unit - partial.length, left)
      partial.length += taken
      partial.type &= type
      left -= taken
      if (partial.length < unit) continue
      yield { length: unit, type: partial.type }
      partial.length = 0
    }
    const rest = left % unit
    if (left > rest) yield { length: left - rest, type }
    if (rest > 0) Object.assign(partial, { length: rest, type })
  }
}

function* chain(first: Extent, others: Iterable<Extent>): Generator<Extent> {
  yield first
  yield* others
}
