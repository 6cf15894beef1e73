import { isPromise, type MaybePromise } from '../api/maybe.js'

/** Runs work when all work that was given before has settled. */
export type Queue = <T>(work: () => MaybePromise<T>) => MaybePromise<T>

/**
 * Makes a queue in which one piece of work runs at a time, in the order given. Where nothing is running, the
 * work starts at once, and its value is returned without a Promise if it needs none. A failure goes to the
 * caller of that work alone.
 *
 * @example const queue = oneAtATime(); queue(() => device.read(0, 512, alloc))
 */
export function oneAtATime(): Queue {
  let last: Promise<void> | undefined
  return (work) => {
    const result = last === undefined ? work() : last.then(work)
    if (!isPromise(result)) return result
    const settled = () => {
      if (last === mine) last = undefined
    }
    const mine: Promise<void> = result.then(settled, settled)
    last = mine
    return result
  }
}
