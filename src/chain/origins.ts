/**
 * Tracks which completed device a function belongs to. A filter may spread one of several devices that it
 * opened, or one that it keeps, and override some functions.
 */
import type { Device } from '../api/device.js'

const operations = [
  'read',
  'write',
  'window',
  'release',
  'flush',
  'trim',
  'zero',
  'extents',
  'cache',
] as const
const functions = [...operations, 'close'] as const

/** The first device with the function. Devices that spread it share the function. */
const owners = new WeakMap<object, Device>()

/** Records the functions of a completed device. */
export function noteDevice(device: Device): void {
  for (const key of functions) if (!owners.has(device[key])) owners.set(device[key], device)
}

/** Undefined for a function that a layer defines itself. */
export function ownerOf(operation: object | undefined): Device | undefined {
  return operation && owners.get(operation)
}

/**
 * True where data received into the window skips nothing that `read` or `write` would do. A window that
 * belongs to no completed device is the layer's own, and the layer is responsible for it.
 */
export function passesWindow({ window, read, write }: Pick<Device, 'window' | 'read' | 'write'>): boolean {
  const owner = ownerOf(window)
  return owner === undefined || (owner.read === read && owner.write === write)
}

/**
 * The `write` or `read` that a device calls to emulate `zero` or `cache`; undefined where it emulates
 * nothing.
 */
export function emulatedBy(
  owner: Device,
  key: 'zero' | 'cache',
): Device['write'] | Device['read'] | undefined {
  if (owner.can[key] !== 'emulate') return undefined
  return key === 'zero' ? owner.write : owner.read
}
