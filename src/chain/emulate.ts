/**
 * What a device cannot do itself, done with what it can. The one place for it: every layer meets the same
 * emulation. What is long lets others in between (`inPieces`).
 */
import type { Data, Device, Extent, Extents, Support } from '../api/device.js'
import { NbdError } from '../api/errors.js'
import { andThen, type MaybePromise } from '../api/maybe.js'
import { inPieces } from '../api/turns.js'
import { NBD_META_BASE_ALLOCATION } from '../protocol/constants.js'

/** Zeroes are written, and ranges to cache are read, in pieces of this many bytes. */
const pieceBytes = 256 * 1024
const zeroes = new Uint8Array(pieceBytes)

/**
 * `zero` by `write`. Not fast, so `fast` fails at once. FUA goes to each piece; where it is a flush after the
 * write, the one after the last piece covers those before.
 */
export function zeroByWrite(write: Device['write'], fua: Support): Device['zero'] {
  return (offset, length, flags) => {
    if (flags.fast) throw new NbdError('ENOTSUP', 'zeroing is not faster than writing here')
    const end = offset + length
    return inPieces(offset, length, pieceBytes, (at, piece) =>
      write(at, zeroes.subarray(0, piece), {
        fua: flags.fua && (fua === 'native' || (fua === 'emulate' && at + piece === end)),
      }),
    )
  }
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
