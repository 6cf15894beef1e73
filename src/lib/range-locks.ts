/** Runs work on ranges, so that work on ranges that overlap is done in the order in which it came. */
import { isPromise, type MaybePromise } from '../api/maybe.js'

interface Held {
  readonly first: number
  readonly end: number
  /** Resolves when the work has settled. */
  readonly done: Promise<void>
}

export class RangeLocks {
  #held: Held[] = []

  /**
   * Runs `work` when no earlier work on a range from `first` up to `end` is left. Where there is none, the
   * work runs at once, and costs no promise if it needs none itself.
   */
  run<T>(first: number, end: number, work: () => MaybePromise<T>): MaybePromise<T> {
    const before = this.#held.filter((held) => held.first < end && first < held.end)
    const result = before.length === 0 ? work() : Promise.all(before.map(({ done }) => done)).then(work)
    if (!isPromise(result)) return result
    const leave = () => {
      this.#held = this.#held.filter((other) => other !== held)
    }
    const held: Held = { first, end, done: result.then(leave, leave) }
    this.#held.push(held)
    return result
  }
}
