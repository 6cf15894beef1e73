/** A part of a device, as a device of its own. */
import type { Device } from '../api/device.js'

/** In bytes. */
export interface Range {
  readonly offset: number
  readonly size: number
}

/**
 * Returns a device of `size` bytes that begins `offset` bytes into another. All operations are shifted,
 * including `window` and the metadata contexts. For partitions, members of archives, disks in disks.
 *
 * @throws RangeError where the range does not lie in the device.
 * @example slice(await next(request), { offset: 2048 * 512, size: 2 ** 30 })
 */
export function slice(device: Device, { offset, size }: Range): Device {
  const isInside = offset >= 0 && size >= 0 && offset + size <= device.size
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(size) || !isInside)
    throw new RangeError(`${size} bytes at ${offset} do not lie in a device of ${device.size} bytes`)
  return {
    ...device,
    size,
    read: (at, length, alloc) => device.read(offset + at, length, alloc),
    write: (at, data, flags) => device.write(offset + at, data, flags),
    window: (at, length) => device.window(offset + at, length),
    trim: (at, length, flags) => device.trim(offset + at, length, flags),
    zero: (at, length, flags) => device.zero(offset + at, length, flags),
    extents: (at, length, context) => device.extents(offset + at, length, context),
    cache: (at, length) => device.cache(offset + at, length),
  }
}
