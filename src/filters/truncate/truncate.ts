import { type Device, type DeviceInit, type Extent, HOLE, ZERO } from '../../api/device.js'
import { ConfigError, NbdError } from '../../api/errors.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { zeroes } from '../../api/zeroes.js'
import { slice } from '../../lib/slice.js'

/** Changes the size of a disk (nbdkit-truncate-filter(1)). */
export default defineFilter({
  name: 'truncate',
  description: 'makes a disk smaller or larger, or rounds its size',
  params: {
    size: param.size({ keys: ['truncate'], doc: 'The size; that of the disk below unless given.' }),
    roundUp: param.size({ keys: ['round-up'], doc: 'The size is rounded up to a multiple of this.' }),
    roundDown: param.size({ keys: ['round-down'], doc: 'Then it is rounded down to a multiple of this.' }),
  },
  threads: 'isolated',
  setup({ size: wanted, roundUp = 1, roundDown = 1 }) {
    for (const [key, unit] of Object.entries({ 'round-up': roundUp, 'round-down': roundDown }))
      if (!Number.isInteger(Math.log2(unit)) || unit >= 2 ** 32)
        throw new ConfigError(`truncate: ${key}=${unit}: expected a power of two below 4G`)
    return {
      async open(request, next) {
        const device = await next(request)
        const rounded = Math.ceil((wanted ?? device.size) / roundUp) * roundUp
        const size = Math.floor(rounded / roundDown) * roundDown
        if (!Number.isSafeInteger(size))
          throw new ConfigError(`truncate: ${wanted ?? device.size} bytes cannot be rounded up to ${roundUp}`)
        return size <= device.size ? slice(device, { offset: 0, size }) : longer(device, size)
      },
    }
  },
})

/** A device with a hole at its end, which accepts only zeroes. */
function longer(device: Device, size: number): DeviceInit {
  /** The number of bytes of a range that lie in the device below. */
  const inside = (offset: number, length: number) => Math.max(0, Math.min(length, device.size - offset))
  /** Calls for the part of a range that lies in the device below, if any. */
  const onDisk = (offset: number, length: number, call: (below: number) => MaybePromise<void>) => {
    const below = inside(offset, length)
    return below === 0 ? undefined : call(below)
  }
  return {
    ...device,
    size,
    can: { ...device.can, extents: true, fastZero: device.can.zero !== 'none' },
    read(offset, length, alloc) {
      const below = inside(offset, length)
      if (below === length) return device.read(offset, length, alloc)
      const rest = [zeroes(length - below)].flat()
      return below === 0
        ? rest
        : andThen(device.read(offset, below, alloc), (data) => [...[data].flat(), ...rest])
    },
    write(offset, data, flags) {
      const below = inside(offset, data.length)
      // Check before writing, so that a failed write has changed nothing.
      if (!isZero(data.subarray(below)))
        throw new NbdError(
          'ENOSPC',
          `truncate: write ${data.length} at ${offset}: the disk below ends at ${device.size}`,
        )
      return onDisk(offset, data.length, () => device.write(offset, data.subarray(0, below), flags))
    },
    window: (offset, length) =>
      inside(offset, length) === length ? device.window(offset, length) : undefined,
    trim: (offset, length, flags) => onDisk(offset, length, (below) => device.trim(offset, below, flags)),
    zero: (offset, length, flags) => onDisk(offset, length, (below) => device.zero(offset, below, flags)),
    cache: (offset, length) => onDisk(offset, length, (below) => device.cache(offset, below)),
    extents(offset, length, context) {
      const below = inside(offset, length)
      if (below === 0) return [{ length, type: context === 'base:allocation' ? HOLE | ZERO : 0 }]
      return andThen(device.extents(offset, below, context), (runs) => cut(runs, below))
    },
  }
}

/** Compares with zeroes, page by page: a loop over each byte of a long write would hold up other clients. */
function isZero(bytes: Uint8Array): boolean {
  let at = 0
  for (const page of [zeroes(bytes.length)].flat()) {
    if (Buffer.compare(bytes.subarray(at, at + page.length), page) !== 0) return false
    at += page.length
  }
  return true
}

/** The runs up to the end of the device below. A client asks again for later ones. */
function* cut(runs: Iterable<Extent>, length: number): Generator<Extent> {
  let left = length
  for (const run of runs) {
    yield run.length <= left ? run : { ...run, length: left }
    left -= run.length
    if (left <= 0) return
  }
}
