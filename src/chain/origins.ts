/**
 * Where the functions of a device come from: a filter may spread one of several devices that it opened, or
 * one that it keeps, and override the functions that it likes.
 */
import type { Device, DeviceInit } from '../api/device.js'

/** Spread with a device: no guess is needed of which one a layer has spread. */
const origin = Symbol('origin')

/** Marks a device that is complete, so that those who spread it can be told. */
export function markComplete(device: Device): Device {
  return Object.assign(device, { [origin]: device })
}

/** The complete device that was spread, if any. */
export function originOf(init: DeviceInit): Device | undefined {
  return (init as { readonly [origin]?: Device })[origin]
}

type Base = Device['read'] | Device['write']

/** By the window of a complete device: the read and the write that hand the bytes on as they are. */
const passing = new WeakMap<Device['window'], ReadonlySet<Base>>()

export function noteWindow({ window, read, write }: Pick<Device, 'window' | 'read' | 'write'>): void {
  passing.set(window, new Set([...(passing.get(window) ?? []), read, write]))
}

/**
 * True where bytes that are received into the window miss nothing which `read` or `write` would have done.
 * A window that no complete device has is a layer's own, and that layer answers for it.
 */
export function passesWindow({ window, read, write }: Pick<Device, 'window' | 'read' | 'write'>): boolean {
  const bases = passing.get(window)
  return bases === undefined || (bases.has(read) && bases.has(write))
}
