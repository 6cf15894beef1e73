/**
 * Tracks where the functions of a device come from. A filter may spread one of several devices that it
 * opened, or one that it keeps, and override some functions.
 */
import type { Device, DeviceInit } from '../api/device.js'

/** Spread along with a device, so that the device which a layer has spread is known without guessing. */
const origin = Symbol('origin')

/** Marks a completed device, so that devices which spread it can be recognised. */
export function markComplete(device: Device): Device {
  return Object.assign(device, { [origin]: device })
}

/** The completed device that was spread, if any. */
export function originOf(init: DeviceInit): Device | undefined {
  return (init as { readonly [origin]?: Device })[origin]
}

type Base = Device['read'] | Device['write']

/** By the window of a completed device: the `read` and `write` functions that pass the bytes on unchanged. */
const passing = new WeakMap<Device['window'], WeakSet<Base>>()

export function noteWindow({ window, read, write }: Pick<Device, 'window' | 'read' | 'write'>): void {
  const bases = passing.get(window) ?? new WeakSet<Base>()
  passing.set(window, bases.add(read).add(write))
}

/**
 * True where data received into the window skips nothing that `read` or `write` would do. A window that
 * belongs to no completed device is the layer's own, and the layer is responsible for it.
 */
export function passesWindow({ window, read, write }: Pick<Device, 'window' | 'read' | 'write'>): boolean {
  const bases = passing.get(window)
  return bases === undefined || (bases.has(read) && bases.has(write))
}
