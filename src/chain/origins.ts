/**
 * Which functions of a completed device belong together, whatever became of the others: a filter may spread
 * one of several devices that it opened, or one that it keeps, and override whichever functions it likes.
 */
import type { Device } from '../api/device.js'

type Window = Device['window']
type Base = Device['read'] | Device['write']

/** By window: reads and writes that hand on the bytes as they are. */
const passing = new WeakMap<Window, WeakSet<Base>>()
/** By an operation that a device emulates, or has of its own: what that operation is made of, if anything. */
const emulations = new WeakMap<Device['zero'] | Device['cache'], Base | undefined>()

/** Notes the functions of a device that is complete. */
export function noteWindow({ window, read, write }: Pick<Device, 'window' | 'read' | 'write'>): void {
  const bases = passing.get(window) ?? new WeakSet<Base>()
  passing.set(window, bases.add(read).add(write))
}

/**
 * True where bytes that are received into the window miss nothing which `read` or `write` would have done.
 * A window that no completed device has is a layer's own, and that layer answers for it.
 */
export function passesWindow(window: Window, read: Base, write: Base): boolean {
  const bases = passing.get(window)
  return bases === undefined || (bases.has(read) && bases.has(write))
}

/** @param by The `write` or `read` that is called in place of the operation; undefined where none is. */
export function noteOperation(operation: Device['zero'] | Device['cache'], by: Base | undefined): void {
  if (!emulations.has(operation)) emulations.set(operation, by)
}

/** `own`: no completed device has this function. Else what the operation is made of, if anything. */
export function madeOf(operation: Device['zero'] | Device['cache']): Base | undefined | 'own' {
  return emulations.has(operation) ? emulations.get(operation) : 'own'
}
