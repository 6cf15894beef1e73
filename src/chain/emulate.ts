/**
 * What a device cannot do itself, done with what it can. The one place for it: every layer meets the same
 * emulation. Each loop stays synchronous while the device is.
 */
import type { Data, Device, Extent, Support } from '../api/device.js'
import { NbdError } from '../api/errors.js'
import { andThen, isPromise, type MaybePromise } from '../api/maybe.js'

/** Zeroes are written, and ranges to cache are read, in pieces of this many bytes. */
const pieceBytes = 256 * 1024
/** After so many bytes, others are let in: a multiple of a piece. */
const turnBytes = 64 * pieceBytes
const zeroes = new Uint8Array(pieceBytes)
const scratch = new Uint8Array(pieceBytes)

/**
 * `zero` by `write`. Not fast, so `fast` fails at once. FUA goes to each piece; where it is a flush after the
 * write, the one after the last piece covers those before.
 */
export function zeroByWrite(write: Device['write'], fua: Support): Device['zero'] {
  return (offset, length, flags) => {
    if (flags.fast) throw new NbdError('ENOTSUP', 'zeroing is not faster than writing here')
    return inPieces(offset, length, (at, piece, last) =>
      write(at, zeroes.subarray(0, piece), {
        fua: flags.fua && (fua === 'native' || (fua === 'emulate' && last)),
      }),
    )
  }
}

/** FUA by `flush` after the operation. */
export function thenFlush(result: MaybePromise<void>, flush: Device['flush']): MaybePromise<void> {
  return andThen(result, flush)
}

/** `cache` by `read`, the bytes thrown away. */
export function cacheByRead(read: Device['read']): Device['cache'] {
  const alloc = (length: number) => scratch.subarray(0, length)
  return (offset, length) => inPieces(offset, length, (at, piece) => andThen(read(at, piece, alloc), ignore))
}

function ignore(_data: Data): void {}

/** Where nothing is known, everything is data. */
export function allData(_offset: number, length: number): Iterable<Extent> {
  return [{ length, type: 0 }]
}

type Step = (offset: number, length: number, last: boolean) => MaybePromise<void>

/** At once as far as the device answers at once, but for no longer than a turn. */
function inPieces(offset: number, length: number, step: Step): MaybePromise<void> {
  const end = offset + length
  for (let at = offset; at < end && at < offset + turnBytes; ) {
    const piece = Math.min(pieceBytes, end - at)
    const result = step(at, piece, at + piece === end)
    at += piece
    if (isPromise(result) || (at === offset + turnBytes && at < end)) return goOn(result, at, end, step)
  }
}

async function goOn(first: MaybePromise<void>, from: number, end: number, step: Step): Promise<void> {
  await first
  for (let at = from; at < end; ) {
    // Other clients want their turn, too.
    if ((at - from) % turnBytes === 0) await new Promise((resolve) => setImmediate(resolve))
    const piece = Math.min(pieceBytes, end - at)
    await step(at, piece, at + piece === end)
    at += piece
  }
}
