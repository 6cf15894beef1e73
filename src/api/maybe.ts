/** A value, or a Promise of one. Return the value where you have it: that saves the cost of a Promise. */
export type MaybePromise<T> = T | Promise<T>

/** True for any Promise, ours or foreign. Only objects are tested, so numbers and `undefined` stay cheap. */
export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}

/**
 * Calls `fn` with `value`: at once for a value, later for a Promise. A filter thus stays synchronous over a
 * synchronous device, which `await` would not allow.
 *
 * @example read: (offset, length, alloc) => andThen(device.read(offset, length, alloc), decrypt)
 */
export function andThen<T, U>(value: MaybePromise<T>, fn: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return isPromise(value) ? value.then(fn) : fn(value)
}
