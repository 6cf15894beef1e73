/** A call on the event loop that takes longer than this counts as having waited, in ms. */
const patienceMs = 0.2
/** After a wait, calls stay off the event loop for this many times its length. */
export const restFactor = 20

/**
 * Decides whether system calls that nearly always return at once may run on the event loop.
 *
 * A read from the page cache, or a write into it, takes microseconds on the loop and several times as much
 * through the thread pool. Now and then such a call waits for a disk, and every client waits with it. So the
 * loop is tried first. After a call that waited, the next calls go to the pool for twenty times as long as
 * the wait. Long waits thus take up at most a twentieth of the time, whatever the disk does.
 */
export class Patience {
  readonly #now: () => number
  #restUntil = 0

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Makes the call now if calls are allowed on the loop. Otherwise returns undefined without making it. */
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

/** For calls that may each wait for an unknown time. */
export const noPatience: Patience = new Patience(() => Number.NEGATIVE_INFINITY)
