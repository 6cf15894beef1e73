/** A disk below, and the changes to it in an overlay. */
import {
  type Alloc,
  type Data,
  type Device,
  type DeviceInit,
  type Extent,
  HOLE,
  ZERO,
} from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { andThen, isPromise, type MaybePromise } from '../../api/maybe.js'
import { inPieces } from '../../api/turns.js'
import { zeroes } from '../../api/zeroes.js'
import type { Overlay } from './overlay.js'

export interface CowOptions {
  /** Tells whether data that a client reads is kept in the overlay. */
  readonly keepsReads: () => MaybePromise<boolean>
  /** Whether data that a client asks to cache is kept in the overlay. */
  readonly keepsCached: boolean
}

/** Copied in a row: up to 0.2 ms. */
const pieceBytes = 256 * 1024
/** The most extents of one answer. A client asks again for the rest. */
const extentsMax = 32 * 1024

const ownAlloc: Alloc = (length) => new Uint8Array(length)

export function cowDevice(device: Device, overlay: Overlay, options: CowOptions): DeviceInit {
  const { size } = device
  const { blockBytes, locks } = overlay
  const blockAt = (offset: number) => Math.floor(offset / blockBytes)
  const roundedUp = (offset: number) => Math.min(size, Math.ceil(offset / blockBytes) * blockBytes)
  const roundedDown = (offset: number) => blockAt(offset) * blockBytes

  /** Runs what changes a range, alone among what changes its blocks. */
  const changing = <T>(offset: number, end: number, work: () => MaybePromise<T>) =>
    locks.run(blockAt(offset), blockAt(end - 1) + 1, work)

  const readRun = (offset: number, end: number, alloc: Alloc): MaybePromise<Data> => {
    const { state, length } = overlay.runAt(offset, end)
    if (state === 'written') return overlay.read(offset, length, alloc)
    return state === 'trimmed' ? zeroes(length) : device.read(offset, length, alloc)
  }
  const read = (offset: number, length: number, alloc: Alloc): MaybePromise<Data> => {
    const end = offset + length
    const first = overlay.runAt(offset, end).length
    if (first === length) return readRun(offset, end, alloc)
    const parts: MaybePromise<Data>[] = []
    for (let at = offset; at < end; at += overlay.runAt(at, end).length) parts.push(readRun(at, end, alloc))
    return parts.some(isPromise) ? Promise.all(parts).then((data) => data.flat()) : (parts as Data[]).flat()
  }

  /** Copies what the blocks of a range have, and the overlay does not, into the overlay. */
  const copyUp = (offset: number, end: number): MaybePromise<void> =>
    inPieces(offset, end - offset, Math.max(blockBytes, pieceBytes), (at, length) =>
      copyRuns(at, at + length),
    )
  const copyRuns = (offset: number, end: number): MaybePromise<void> => {
    for (let at = offset; at < end; ) {
      const { state, length } = overlay.runAt(at, end)
      const next = at + length
      if (state === 'below') {
        const copied = andThen(putAll(at, device.read(at, length, ownAlloc)), () =>
          overlay.mark('written', at, next),
        )
        if (isPromise(copied)) return copied.then(() => copyRuns(next, end))
      }
      at = next
    }
  }
  const putAll = (offset: number, data: MaybePromise<Data>): MaybePromise<void> =>
    andThen(data, (found) => {
      const parts = [found].flat() as Uint8Array[]
      const from = (index: number, at: number): MaybePromise<void> => {
        const part = parts[index]
        if (part !== undefined) return andThen(overlay.put(at, part), () => from(index + 1, at + part.length))
      }
      return from(0, offset)
    })

  /** Puts into the overlay what a block that is written in part has beside that part. */
  const fill = (from: number, to: number): MaybePromise<void> => {
    if (from >= to || overlay.state(blockAt(from)) === 'written') return
    return putAll(from, readRun(from, to, ownAlloc))
  }
  const write = (offset: number, data: Uint8Array): MaybePromise<void> => {
    const end = offset + data.length
    return changing(offset, end, () => {
      const begun = fill(roundedDown(offset), offset)
      const filled = andThen(begun, () => fill(end, roundedUp(end)))
      const put = andThen(filled, () =>
        inPieces(offset, data.length, pieceBytes, (at, length) =>
          overlay.put(at, data.subarray(at - offset, at - offset + length)),
        ),
      )
      return andThen(put, () => overlay.mark('written', offset, end))
    })
  }
  const writeZeroes = (from: number, to: number): MaybePromise<void> => {
    if (from >= to) return
    return inPieces(from, to - from, pieceBytes, (at, length) => write(at, zeroes(length) as Uint8Array))
  }

  /** Makes whole blocks read as zeroes, and writes zeroes before and behind them. */
  const trim = (offset: number, length: number): MaybePromise<void> => {
    const end = offset + length
    const isEnd = end === size
    const [first, last] = [Math.min(end, roundedUp(offset)), isEnd ? size : roundedDown(end)]
    if (first >= last) return writeZeroes(offset, end)
    const trimmed = changing(first, last, () => overlay.mark('trimmed', first, last))
    return andThen(trimmed, () => andThen(writeZeroes(offset, first), () => writeZeroes(last, end)))
  }

  const extents = (offset: number, length: number): MaybePromise<Iterable<Extent>> => {
    const end = offset + length
    const found: Extent[] = []
    const from = (start: number): MaybePromise<Iterable<Extent>> => {
      for (let at = start; at < end && found.length < extentsMax; ) {
        const run = overlay.runAt(at, end)
        if (run.state !== 'below') {
          found.push({ length: run.length, type: run.state === 'written' ? 0 : HOLE | ZERO })
          at += run.length
          continue
        }
        const place = at
        const told = device.extents(at, run.length)
        if (isPromise(told)) return told.then((runs) => from(place + addRuns(runs, run.length)))
        at += addRuns(told, run.length)
      }
      return found
    }
    /** Adds runs of the device below, and returns how many bytes they cover. */
    const addRuns = (runs: Iterable<Extent>, most: number): number => {
      let covered = 0
      for (const { length: bytes, type } of runs) {
        const taken = Math.min(bytes, most - covered)
        found.push({ length: taken, type })
        covered += taken
        if (covered === most || found.length >= extentsMax) break
      }
      return covered
    }
    return from(offset)
  }

  return {
    ...device,
    can: {
      ...device.can,
      ...{ write: true, trim: true, zero: 'native', fastZero: true, flush: true },
      ...{ fua: 'native', multiConn: true, cache: 'native', extents: true },
    },
    contexts: [],
    read(offset, length, alloc) {
      const keeps = options.keepsReads()
      if (keeps === false) return read(offset, length, alloc)
      return andThen(keeps, (kept) => {
        if (!kept) return read(offset, length, alloc)
        const [from, to] = [roundedDown(offset), roundedUp(offset + length)]
        return andThen(
          changing(from, to, () => copyUp(from, to)),
          () => read(offset, length, alloc),
        )
      })
    },
    write,
    window: () => undefined,
    // The overlay is thrown away with the server, so nothing in it has to be durable.
    flush() {},
    trim,
    zero(offset, length, { mayTrim, fast }) {
      const isWhole =
        offset % blockBytes === 0 && (offset + length === size || (offset + length) % blockBytes === 0)
      if (fast && !(mayTrim && isWhole))
        throw new NbdError('ENOTSUP', 'cow: only whole blocks that may be trimmed are zeroed fast')
      return mayTrim ? trim(offset, length) : writeZeroes(offset, offset + length)
    },
    extents,
    cache(offset, length) {
      const [from, to] = [roundedDown(offset), roundedUp(offset + length)]
      if (options.keepsCached) return changing(from, to, () => copyUp(from, to))
      if (device.can.cache === 'none') return
      return cacheBelow(from, to)
    },
  }

  async function cacheBelow(offset: number, end: number): Promise<void> {
    for (let at = offset; at < end; ) {
      const { state, length } = overlay.runAt(at, end)
      if (state === 'below') await device.cache(at, length)
      at += length
    }
  }
}
