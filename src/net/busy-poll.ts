/**
 * Keeps the event loop awake for a moment when something may come at once. A client with one request in
 * flight sends the next within microseconds of a reply, and a plugin in another process answers within
 * microseconds of a call. Waking a sleeping thread takes longer than that.
 */

/**
 * The longest time an event loop may stay awake for the next request, in microseconds. More only produces
 * heat.
 */
export const busyPollUsMax = 1000

/**
 * After this many vain tries in a row, only one occasion in 2 ** 6 is tried. The others then cost under a
 * microsecond each.
 */
const missesMax = 6

/** The clock and the event loop. A test replaces them. */
export interface Loop {
  /** In ms. */
  now(): number
  /** Calls back after pending events were handled. */
  next(callback: () => void): void
}

export const realLoop: Loop = { now: () => performance.now(), next: setImmediate }

/** One for all waits of one kind on an event loop. */
export class BusyPoll {
  readonly #pollMs: number
  readonly #loop: Loop
  #polling = false
  #until = 0
  #misses = 0
  /** Occasions to skip before the next try. */
  #skip = 0

  /** @param us how long to stay awake, in microseconds. 0 never stays awake. */
  constructor(us: number, loop: Loop = realLoop) {
    this.#pollMs = us / 1000
    this.#loop = loop
  }

  /**
   * Stays awake, because something may come at once. A further call before the time is over means success.
   */
  expect(): void {
    if (this.#pollMs === 0) return
    if (this.#polling) this.#misses = 0
    else if (this.#skip > 0) {
      this.#skip--
      return
    } else {
      this.#polling = true
      this.#loop.next(this.#look)
    }
    this.#until = this.#loop.now() + this.#pollMs
  }

  #look = (): void => {
    if (this.#loop.now() < this.#until) {
      this.#loop.next(this.#look)
      return
    }
    // Slow peers, and peers that need the processor the loop is using, are waited for less and less often.
    this.#polling = false
    this.#misses = Math.min(this.#misses + 1, missesMax)
    this.#skip = 2 ** this.#misses - 1
  }
}
