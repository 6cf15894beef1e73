import { type Data, type Device, type Extent, ZERO } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'
import { defineFilter } from '../../api/plugin.js'
import { inPieces } from '../../api/turns.js'
import { zeroes } from '../../api/zeroes.js'

/** Compares what is written with what a disk has (nbdkit-checkwrite-filter(1)). */
export default defineFilter({
  name: 'checkwrite',
  description: 'fails writes of other data than the disk has, and writes nothing',
  params: {},
  threads: 'isolated',
  setup: () => ({
    async open(request, next) {
      const device = await next({ ...request, readOnly: true })
      if (request.readOnly) return device
      const checkZero = (offset: number, length: number, fast: boolean) =>
        andThen(device.extents(offset, length), (runs) => compareZeroes(device, offset, length, runs, fast))
      return {
        ...device,
        can: {
          ...device.can,
          ...{ write: true, flush: true, trim: true, zero: 'native', fastZero: true },
          ...{ fua: 'native', multiConn: true },
        },
        write: (offset, data) =>
          inPieces(offset, data.length, pieceBytes, (at, length) =>
            compare(device, at, data.subarray(at - offset, at - offset + length)),
          ),
        window: () => undefined,
        flush() {},
        trim: (offset, length) => checkZero(offset, length, false),
        zero: (offset, length, { fast }) => checkZero(offset, length, fast),
      }
    },
  }),
})

/** Compared in a row: up to 0.2 ms. */
const pieceBytes = 256 * 1024

/** Reads as much as `expected` has, and compares. */
function compare(device: Device, offset: number, expected: Uint8Array): MaybePromise<void> {
  const alloc = (length: number) => new Uint8Array(length)
  return andThen(device.read(offset, expected.length, alloc), (data) => {
    const place = difference(data, expected)
    if (place !== undefined)
      throw new NbdError('EIO', `checkwrite: the data written differs from the disk at ${offset + place}`)
  })
}

/** The position of the first difference; undefined where there is none. */
function difference(data: Data, expected: Uint8Array): number | undefined {
  let at = 0
  for (const part of [data].flat() as Uint8Array[]) {
    const wanted = expected.subarray(at, at + part.length)
    if (Buffer.compare(part, wanted) !== 0)
      return at + part.findIndex((byte, index) => byte !== wanted[index])
    at += part.length
  }
  return undefined
}

/**
 * Reads the parts of a range that are not known to be zero, and compares them with zeroes. Where the device
 * tells of less than the range, it is asked again.
 */
async function compareZeroes(
  device: Device,
  offset: number,
  length: number,
  runs: Iterable<Extent>,
  fast: boolean,
): Promise<void> {
  const end = offset + length
  let at = offset
  let more = runs
  for (;;) {
    for (const run of more) {
      const bytes = Math.min(run.length, end - at)
      if ((run.type & ZERO) === 0) {
        if (fast) throw new NbdError('ENOTSUP', `checkwrite: ${bytes} bytes at ${at} have to be read`)
        await inPieces(at, bytes, pieceBytes, (from, count) => compareWithZero(device, from, count))
      }
      at += bytes
      if (at === end) return
    }
    more = await device.extents(at, end - at)
  }
}

function compareWithZero(device: Device, offset: number, length: number): MaybePromise<void> {
  // So few zeroes are one view.
  return compare(device, offset, zeroes(length) as Uint8Array)
}
