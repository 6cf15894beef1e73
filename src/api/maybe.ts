/**
 * A value that is here, or one that is still to come. Return the value when you have it: no Promise, no cost.
 */
export type MaybePromise<T> = T | Promise<T>

/**
 * True for a Promise of ours or of anybody's. Only objects are asked, so numbers and `undefined` stay cheap.
 */
export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}

/**
 * Goes on with `fn` when `value` is there: at once when it is a value, later when it is a Promise.
 * It keeps a filter synchronous over a synchronous device, where `await` would not.
 *
 * @example read: (offset, length, alloc) => andThen(device.read(offset, length, alloc), decrypt)
 */
export function andThen<T, U>(value: MaybePromise<T>, fn: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return isPromise(value) ? value.then(fn) : fn(value)
}
