/**
 * Checks at the boundary between two layers, around overridden functions only. A layer that exceeds the
 * range, or returns too little, gets an error. Bytes beyond the range are never touched.
 */
import { type Data, type Device, dataLength, type Extent, type Extents } from '../api/device.js'
import { isPromise, type MaybePromise } from '../api/maybe.js'
import { NBD_META_BASE_ALLOCATION } from '../protocol/constants.js'
import { blamed } from './blame.js'
import type { Watcher } from './running.js'

/** The layer's name and size for the checks, and the watcher of its unsettled calls. */
export interface Boundary {
  readonly layer: string
  readonly size: number
  readonly running: Watcher
}

export function guardRead({ layer, size, running }: Boundary, read: Device['read']): Device['read'] {
  return (offset, length, alloc) => {
    if (!inRange(offset, length, size)) throw outOfRange(layer, 'read', offset, length, size)
    let data: MaybePromise<Data>
    try {
      data = read(offset, length, alloc)
    } catch (error) {
      throw blamed(error, layer, 'read')
    }
    if (isPromise(data))
      return running.watch(layer, 'read', data, (settled) => complete(settled, offset, length, layer))
    return complete(data, offset, length, layer)
  }
}

function complete(data: Data, offset: number, length: number, layer: string): Data {
  const isData = data instanceof Uint8Array || (Array.isArray(data) && data.every(isBytes))
  if (isData && dataLength(data) === length) return data
  const got = isData ? `${dataLength(data)} bytes` : typeof data
  throw new Error(`${layer}: read ${length} at ${offset} returned ${got}`)
}

function isBytes(part: unknown): part is Uint8Array {
  return part instanceof Uint8Array
}

export function guardWrite({ layer, size, running }: Boundary, write: Device['write']): Device['write'] {
  return (offset, data, flags) => {
    if (!inRange(offset, data.length, size)) throw outOfRange(layer, 'write', offset, data.length, size)
    try {
      return watched(running, layer, 'write', write(offset, data, flags))
    } catch (error) {
      throw blamed(error, layer, 'write')
    }
  }
}

export function guardWindow({ layer, size }: Boundary, window: Device['window']): Device['window'] {
  return (offset, length) => {
    if (!inRange(offset, length, size)) throw outOfRange(layer, 'window', offset, length, size)
    let view: Uint8Array | undefined
    try {
      view = window(offset, length)
    } catch (error) {
      throw blamed(error, layer, 'window')
    }
    if (view === undefined || (isBytes(view) && view.length === length)) return view
    const got = isBytes(view) ? `${view.length} bytes` : typeof view
    throw new Error(`${layer}: window ${length} at ${offset} returned ${got}`)
  }
}

/** For trim and zero. */
export function guardRange<F>(
  { layer, size, running }: Boundary,
  operation: 'trim' | 'zero',
  call: (offset: number, length: number, flags: F) => MaybePromise<void>,
): (offset: number, length: number, flags: F) => MaybePromise<void> {
  return (offset, length, flags) => {
    if (!inRange(offset, length, size)) throw outOfRange(layer, operation, offset, length, size)
    try {
      return watched(running, layer, operation, call(offset, length, flags))
    } catch (error) {
      throw blamed(error, layer, operation)
    }
  }
}

export function guardCache({ layer, size, running }: Boundary, cache: Device['cache']): Device['cache'] {
  return (offset, length) => {
    if (!inRange(offset, length, size)) throw outOfRange(layer, 'cache', offset, length, size)
    try {
      return watched(running, layer, 'cache', cache(offset, length))
    } catch (error) {
      throw blamed(error, layer, 'cache')
    }
  }
}

export function guardFlush({ layer, running }: Boundary, flush: Device['flush']): Device['flush'] {
  return () => {
    try {
      return watched(running, layer, 'flush', flush())
    } catch (error) {
      throw blamed(error, layer, 'flush')
    }
  }
}

export function guardExtents({ layer, size, running }: Boundary, extents: Extents): Device['extents'] {
  return (offset, length, context = NBD_META_BASE_ALLOCATION) => {
    if (!inRange(offset, length, size)) throw outOfRange(layer, 'extents', offset, length, size)
    let runs: MaybePromise<Iterable<Extent>>
    try {
      runs = extents(offset, length, context)
    } catch (error) {
      throw blamed(error, layer, 'extents')
    }
    return isPromise(runs)
      ? running.watch(layer, 'extents', runs, (settled) => checkedRuns(settled, layer))
      : checkedRuns(runs, layer)
  }
}

/** Checks runs lazily: each is checked when it is taken, and a caller may stop early. */
function checkedRuns(runs: Iterable<Extent>, layer: string): Iterable<Extent> {
  return {
    *[Symbol.iterator]() {
      let count = 0
      try {
        for (const run of runs) {
          if (!Number.isSafeInteger(run.length) || run.length <= 0 || !Number.isInteger(run.type))
            throw new Error(`${layer}: extents returned a run of ${run.length} bytes, type ${run.type}`)
          count++
          yield run
        }
      } catch (error) {
        throw blamed(error, layer, 'extents')
      }
      if (count === 0) throw new Error(`${layer}: extents returned no run`)
    },
  }
}

function watched(running: Watcher, layer: string, operation: string, result: MaybePromise<void>) {
  return isPromise(result) ? running.watch(layer, operation, result) : undefined
}

function inRange(offset: number, length: number, size: number): boolean {
  return offset >= 0 && length > 0 && offset + length <= size
}

function outOfRange(layer: string, operation: string, offset: number, length: number, size: number): Error {
  return new Error(`${layer}: asked to ${operation} ${length} bytes at ${offset}: the device ends at ${size}`)
}
