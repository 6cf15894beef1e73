/**
 * Block status: the runs of each metadata context that the client selected (NBD spec, NBD_CMD_BLOCK_STATUS).
 */
import { type Device, type Extent, HOLE, ZERO } from '../api/device.js'
import { andThen, type MaybePromise } from '../api/maybe.js'
import { inTurns } from '../api/turns.js'
import { toNumber, viewOf } from '../protocol/bytes.js'
import { NBD_META_BASE_ALLOCATION } from '../protocol/constants.js'
import { descriptorsMax } from '../protocol/limits.js'
import type { ReplyMode } from '../protocol/reply.js'
import type { MetaContext } from './agreement.js'

/** Longer runs do not fit 32 bits and are cut to this length, a multiple of every block size. */
const compactRunMax = 0xffff0000

/** The range a client asked about. */
export interface StatusRange {
  readonly offset: number
  readonly length: number
  /** The size of the export. */
  readonly size: number
  readonly one: boolean
  readonly mode: ReplyMode
}

/** Returns the runs of each context, in the contexts' order. Each run is a length followed by its flags. */
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

/** Runs taken before the event loop may run: finding one run of a fragmented file takes up to 10 us. */
const stepRuns = 16

/**
 * Takes as many runs as the range and the limits allow, and merges neighbours of the same type. Only the bits
 * in `flags` count as the type. A long collection yields to other clients, so the device may change
 * meanwhile: each run is true at the moment it is taken, and NBD promises no more.
 */
function collect(runs: Iterable<Extent>, range: StatusRange, flags: number): MaybePromise<number[]> {
  const { offset, length, size, one, mode } = range

  const runMax = mode === 'extended' ? Number.MAX_SAFE_INTEGER : compactRunMax
  const descriptors: number[] = []
  const end = one ? offset + length : size
  let at = offset
  let run = 0
  let type = 0
  /** Returns false when there are enough runs. */
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
    // An overlong run is cut. The reply stays true, and the client asks again for the rest.
    if (run > 0) descriptors.push(Math.min(run, runMax), type)
    return descriptors
  })
}

/**
 * Decodes the payload of NBD_CMD_BLOCK_STATUS with extended headers: the effect length in 64 bits, then each
 * context id in 32 bits.
 */
export function decodeStatusPayload(
  bytes: Uint8Array,
): { length: number; ids: readonly number[] } | undefined {
  if (bytes.length < 12 || bytes.length % 4 !== 0) return undefined
  const view = viewOf(bytes)
  const ids = Array.from({ length: (bytes.length - 8) / 4 }, (_, index) => view.getUint32(8 + 4 * index))
  return { length: toNumber(view.getUint32(0), view.getUint32(4)), ids }
}
