/**
 * Which completed device a function is of: a filter may spread one of several devices that it opened, or one
 * that it keeps, and override the functions that it likes.
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

/** The first device that had the function: those that spread it call the same. */
const owners = new WeakMap<object, Device>()

/** Notes the functions of a device that is complete. */
export function noteDevice(device: Device): void {
  for (const key of functions) if (!owners.has(device[key])) owners.set(device[key], device)
}

/** Undefined for a function that a layer has written itself. */
export function ownerOf(operation: object | undefined): Device | undefined {
  return operation && owners.get(operation)
}

/**
 * True where bytes that are received into the window miss nothing which `read` or `write` would have done.
 * A window that no completed device has is a layer's own, and that layer answers for it.
 */
export function passesWindow({ window, read, write }: Pick<Device, 'window' | 'read' | 'write'>): boolean {
  const owner = ownerOf(window)
  return owner === undefined || (owner.read === read && owner.write === write)
}

/** The `write` or `read` that a device calls in place of `zero` or `cache`; undefined where it calls none. */
export function emulatedBy(
  owner: Device,
  key: 'zero' | 'cache',
): Device['write'] | Device['read'] | undefined {
  if (owner.can[key] !== 'emulate') return undefined
  return key === 'zero' ? owner.write : owner.read
}
