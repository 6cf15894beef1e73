/** A call on the event loop may take this long before it counts as having waited, in ms. */
const patienceMs = 0.2
/** How many times as long as a wait took the next calls are kept off the event loop. */
export const restFactor = 20

/**
 * Whether system calls that nearly always answer at once may be made on the event loop.
 *
 * A read of the page cache, or a write into it, takes microseconds there, and several times as much through
 * the thread pool. But now and then it waits for a disk, and every client waits with it. So the loop is
 * tried; a call that did wait sends those after it to the pool, for twenty times as long as it took. Long
 * waits then take up a twentieth of the time at most, whatever the disk does.
 */
export class Patience {
  readonly #now: () => number
  #restUntil = 0

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Makes the call here and now, when there is patience left; else returns undefined without making it. */
  spend<T>(call: () => T): T | undefined {
    const start = this.#now()
    if (start < this.#restUntil) return undefined
    try {
      return call()
    } finally {
      const end = this.#now()
      if (end - start > patienceMs) this.#restUntil = end + restFactor * (end - start)
    }
  }
}

/** For calls of which each may wait, and nobody knows for how long. */
export const noPatience: Patience = new Patience(() => Number.NEGATIVE_INFINITY)
