import { type Data, type Device, dataLength } from './device.js'
import type { MaybePromise } from './maybe.js'

/** A request to a device, as {@link around} shows it. */
export interface Command {
  readonly type: 'read' | 'write' | 'flush' | 'trim' | 'zero' | 'extents' | 'cache'
  /** In bytes; both are 0 for `flush`. */
  readonly offset: number
  readonly length: number
  /** The metadata context. Only for `extents`. */
  readonly context?: string
  /** The flags that were set, of `fua`, `mayTrim` and `fast`. */
  readonly flags: { readonly fua?: boolean; readonly mayTrim?: boolean; readonly fast?: boolean }
}

/** Receives each command and a function to go on. It may wait, throw, or answer without going on. */
export type Wrap = <T>(command: Command, proceed: () => MaybePromise<T>) => MaybePromise<T>

const noFlags = Object.freeze({})

/**
 * Wraps every operation of a device in the same way: for a delay, a rate, a log, statistics.
 *
 * @example around(device, async (command, proceed) => { await sleep(5); return proceed() })
 */
export function around(device: Device, wrap: Wrap): Device {
  return {
    ...device,
    read: (offset, length, alloc) =>
      wrap<Data>({ type: 'read', offset, length, flags: noFlags }, () => device.read(offset, length, alloc)),
    write: (offset, data, flags) =>
      wrap<void>({ type: 'write', offset, length: dataLength(data), flags }, () =>
        device.write(offset, data, flags),
      ),
    flush: () => wrap<void>({ type: 'flush', offset: 0, length: 0, flags: noFlags }, () => device.flush()),
    trim: (offset, length, flags) =>
      wrap<void>({ type: 'trim', offset, length, flags }, () => device.trim(offset, length, flags)),
    zero: (offset, length, flags) =>
      wrap<void>({ type: 'zero', offset, length, flags }, () => device.zero(offset, length, flags)),
    extents: (offset, length, context = 'base:allocation') =>
      wrap({ type: 'extents', offset, length, flags: noFlags, context }, () =>
        device.extents(offset, length, context),
      ),
    cache: (offset, length) =>
      wrap<void>({ type: 'cache', offset, length, flags: noFlags }, () => device.cache(offset, length)),
  }
}
