/**
 * Block status: the runs of each metadata context that the client selected (NBD spec, NBD_CMD_BLOCK_STATUS).
 */
import { type Device, type Extent, HOLE, ZERO } from '../api/device.js'
import { andThen, type MaybePromise } from '../api/maybe.js'
import { inTurns } from '../api/turns.js'
import { toNumber, viewOf } from '../protocol/bytes.js'
import { NBD_META_BASE_ALLOCATION } from '../protocol/constants.js'
import { descriptorsMax } from '../protocol/limits.js'
import type { ReplyMode } from './reply-queue.js'

/** A metadata context that the client selected. */
export interface MetaContext {
  readonly id: number
  readonly name: string
}

/** A run that does not fit 32 bits is cut here: a multiple of every block size. */
const compactRunMax = 0xffff0000

/** What a client asked for. */
export interface StatusRange {
  readonly offset: number
  readonly length: number
  /** The size of the export. */
  readonly size: number
  readonly one: boolean
  readonly mode: ReplyMode
}

/** Lengths and flags by turns, for each context in turn. */
export function blockStatus(
  extents: Device['extents'],
  contexts: readonly MetaContext[],
  range: StatusRange,
): MaybePromise<number[][]> {
  const results: number[][] = []
  const next = (): MaybePromise<number[][]> => {
    const context = contexts[results.length]
    if (context === undefined) return results
    const flags = context.name === NBD_META_BASE_ALLOCATION ? HOLE | ZERO : 0xffffffff
    return andThen(extents(range.offset, range.length, context.name), (runs) =>
      andThen(collect(runs, range, flags), (descriptors) => {
        results.push(descriptors)
        return next()
      }),
    )
  }
  return next()
}

/** So many runs are taken in a row: to find one of a fragmented file takes up to 10 us. */
const stepRuns = 16

/**
 * Takes as many runs as the range and the limits ask for, neighbours of one type as one; of a type, these
 * `flags`. Others are let in where that takes long, so the device may change under it: each run is true for
 * the moment in which it is taken, and NBD promises no more.
 */
function collect(runs: Iterable<Extent>, range: StatusRange, flags: number): MaybePromise<number[]> {
  const { offset, length, size, one, mode } = range

  const runMax = mode === 'extended' ? Number.MAX_SAFE_INTEGER : compactRunMax
  const descriptors: number[] = []
  const end = one ? offset + length : size
  let at = offset
  let run = 0
  let type = 0
  /** False: there is enough. */
  const take = (extent: Extent): boolean => {
    const next = extent.type & flags
    if (run > 0 && next !== type) {
      descriptors.push(run, type)
      run = 0
      if (one || descriptors.length === 2 * descriptorsMax) return false
    }
    type = next
    run += Math.min(extent.length, end - at)
    at = Math.min(at + extent.length, end)
    return run <= runMax && at < offset + length
  }

  const iterator = runs[Symbol.iterator]()
  const taken = inTurns(() => {
    for (let count = 0; count < stepRuns; count++) {
      const { done, value } = iterator.next()
      if (done) return false
      if (take(value)) continue
      iterator.return?.()
      return false
    }
    return true
  })
  return andThen(taken, () => {
    // An overlong run is cut: what it says is true, and the client comes back for the rest.
    if (run > 0) descriptors.push(Math.min(run, runMax), type)
    return descriptors
  })
}

/**
 * The payload of NBD_CMD_BLOCK_STATUS with extended headers: 64 bits effect length, 32 bits each context id.
 */
export function decodeStatusPayload(
  bytes: Uint8Array,
): { length: number; ids: readonly number[] } | undefined {
  if (bytes.length < 12 || bytes.length % 4 !== 0) return undefined
  const view = viewOf(bytes)
  const ids = Array.from({ length: (bytes.length - 8) / 4 }, (_, index) => view.getUint32(8 + 4 * index))
  return { length: toNumber(view.getUint32(0), view.getUint32(4)), ids }
}
