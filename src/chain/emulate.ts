/**
 * What a device cannot do itself, done with what it can. The one place for it: every layer meets the same
 * emulation. What is long lets others in between (`inPieces`).
 */
import type { Capabilities, Data, Device, Extent, Extents } from '../api/device.js'
import { NbdError, propertyOf } from '../api/errors.js'
import { andThen, isPromise, type MaybePromise } from '../api/maybe.js'
import { inPieces } from '../api/turns.js'
import { NBD_META_BASE_ALLOCATION } from '../protocol/constants.js'

/** Ranges to cache are read in pieces of this many bytes. */
const pieceBytes = 256 * 1024
/** Zeroes are written in pieces of this many: each may start a script. */
const zeroes = new Uint8Array(2 ** 20)

/**
 * `zero` by `write`. Not fast, so `fast` fails at once. FUA of several pieces is one flush at the end, where
 * the device can flush.
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
 * A plugin's `zero` may throw ENOTSUP: the zeroes are then written, unless the zero was to be fast
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

/** FUA by `flush` after the operation. */
export function thenFlush(result: MaybePromise<void>, flush: Device['flush']): MaybePromise<void> {
  return andThen(result, flush)
}

/**
 * `cache` by `read`, the bytes thrown away. Memory is fresh each time: other reads are in flight, and a
 * filter may want memory of its own beside that of the device below.
 */
export function cacheByRead(read: Device['read']): Device['cache'] {
  const alloc = (length: number) => new Uint8Array(length)
  return (offset, length) =>
    inPieces(offset, length, pieceBytes, (at, bytes) => andThen(read(at, bytes, alloc), ignore))
}

function ignore(_data: Data): void {}

/** `base:allocation` reports data alone; what the other metadata contexts report stays. */
export function withoutAllocation(extents: Extents): Device['extents'] {
  return (offset, length, context = NBD_META_BASE_ALLOCATION) =>
    context === NBD_META_BASE_ALLOCATION ? allData(offset, length) : extents(offset, length, context)
}

/** Where nothing is known, everything is data. */
export function allData(_offset: number, length: number): Iterable<Extent> {
  return [{ length, type: 0 }]
}
