/** A call on the event loop that takes longer than this counts as having waited, in ms. */
const patienceMs = 0.2
/** Each wait is paid off with this many times its length. */
export const restFactor = 20
/** Waits of so long in all need not be paid off before the next call, in ms. */
const creditMs = 5

/**
 * Decides whether system calls that nearly always return at once may run on the event loop.
 *
 * A read from the page cache, or a write into it, takes microseconds on the loop and several times as much
 * through the thread pool. Now and then such a call waits for a disk, and every client waits with it. So the
 * loop is tried first. A call that waited is paid off: the next calls go to the pool for up to twenty times
 * as long as the wait. Waits thus take up at most a twentieth of the time, whatever the disk does. A small
 * credit covers a call that only waited for its turn on a busy processor.
 */
export class Patience {
  readonly #now: () => number
  /** When all waits so far are paid off. */
  #paidOffAt = 0

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Makes the call now if calls are allowed on the loop. Otherwise returns undefined without making it. */
  spend<T>(call: () => T): T | undefined {
    const start = this.#now()
    if (start < this.#paidOffAt - restFactor * creditMs) return undefined
    try {
      return call()
    } finally {
      const end = this.#now()
      const waited = end - start
      if (waited > patienceMs) this.#paidOffAt = Math.max(this.#paidOffAt, end) + restFactor * waited
    }
  }
}

/** For calls that may each wait for an unknown time. */
export const noPatience: Patience = new Patience(() => Number.NEGATIVE_INFINITY)
