/**
 * Emulates operations that a device lacks with those it has. All emulation is here, so that every layer gets
 * the same. Long operations yield to other work (`inPieces`).
 */
import type { Capabilities, Data, Device, Extent, Extents } from '../api/device.js'
import { NbdError, propertyOf } from '../api/errors.js'
import { andThen, isPromise, type MaybePromise } from '../api/maybe.js'
import { inPieces } from '../api/turns.js'
import { NBD_META_BASE_ALLOCATION } from '../protocol/constants.js'

/** Size of the pieces in which ranges to cache are read, in bytes. */
const pieceBytes = 256 * 1024
/** The size of the pieces in which zeroes are written: each may start a script. */
const zeroes = new Uint8Array(2 ** 20)

/**
 * Emulates `zero` with `write`. That is not fast, so `fast` fails at once. FUA for several pieces is one
 * flush at the end, where the device can flush.
 */
export function zeroByWrite(
  write: Device['write'],
  flush: Device['flush'],
  { fua, flush: canFlush }: Pick<Capabilities, 'fua' | 'flush'>,
): Device['zero'] {
  return (offset, length, flags) => {
    if (flags.fast) throw new NbdError('ENOTSUP', 'zeroing is not faster than writing here')
    const flushes =
      flags.fua && length > zeroes.length && (fua === 'emulate' || (fua === 'native' && canFlush))
    const writeFlags = { fua: flags.fua && !flushes }
    const done = inPieces(offset, length, zeroes.length, (at, piece) =>
      write(at, zeroes.subarray(0, piece), writeFlags),
    )
    return flushes ? thenFlush(done, flush) : done
  }
}

/**
 * A plugin's `zero` may throw ENOTSUP: the zeroes are then written, unless they have to be fast
 * (nbdkit-plugin(3), `.zero`).
 */
export function zeroOr(zero: Device['zero'], byWrite: Device['zero']): Device['zero'] {
  return (offset, length, flags) => {
    const failed = (error: unknown): MaybePromise<void> => {
      if (flags.fast || !isUnsupported(error)) throw error
      return byWrite(offset, length, flags)
    }
    try {
      const done = zero(offset, length, flags)
      return isPromise(done) ? done.catch(failed) : done
    } catch (error) {
      return failed(error)
    }
  }
}

function isUnsupported(error: unknown): boolean {
  const code = propertyOf(error, 'code')
  return code === 'ENOTSUP' || code === 'EOPNOTSUPP'
}

/** Emulates FUA with `flush` after the operation. */
export function thenFlush(result: MaybePromise<void>, flush: Device['flush']): MaybePromise<void> {
  return andThen(result, flush)
}

/**
 * Emulates `cache` with `read`, and discards the data. Each read gets fresh memory: other reads are in
 * flight, and a filter may need its own memory beside that of the device below.
 */
export function cacheByRead(read: Device['read']): Device['cache'] {
  const alloc = (length: number) => new Uint8Array(length)
  return (offset, length) =>
    inPieces(offset, length, pieceBytes, (at, bytes) => andThen(read(at, bytes, alloc), ignore))
}

function ignore(_data: Data): void {}

/** Reports only data for `base:allocation`, and leaves the other metadata contexts unchanged. */
export function withoutAllocation(extents: Extents): Device['extents'] {
  return (offset, length, context = NBD_META_BASE_ALLOCATION) =>
    context === NBD_META_BASE_ALLOCATION ? allData(offset, length) : extents(offset, length, context)
}

/** Reports everything as data, where nothing is known. */
export function allData(_offset: number, length: number): Iterable<Extent> {
  return [{ length, type: 0 }]
}
