/**
 * Keeps the event loop awake for a moment when something may come at once. A client with one request in
 * flight sends the next some microseconds after an answer, a plugin in another process answers some
 * microseconds after a call, and to wake a thread that sleeps takes longer than that.
 */

/** After so many vain moments in a row, one try in 2 ** 6: under a microsecond for each of the others. */
const missesMax = 6

/** The clock, and the event loop: others in a test. */
export interface Loop {
  /** In ms. */
  now(): number
  /** Calls back when what came meanwhile was looked at. */
  next(callback: () => void): void
}

export const realLoop: Loop = { now: () => performance.now(), next: setImmediate }

/** One for all that share an event loop and wait for the same. */
export class BusyPoll {
  readonly #pollMs: number
  readonly #loop: Loop
  #polling = false
  #until = 0
  #misses = 0
  /** Occasions to let pass before the next try. */
  #skip = 0

  /** @param us The moment, in microseconds; 0: it never stays awake. */
  constructor(us: number, loop: Loop = realLoop) {
    this.#pollMs = us / 1000
    this.#loop = loop
  }

  /** Something may come at once. Called again before the moment is over: it was not in vain. */
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
    // Who takes its time, or has to run where we stay awake, is waited for less and less often.
    this.#polling = false
    this.#misses = Math.min(this.#misses + 1, missesMax)
    this.#skip = 2 ** this.#misses - 1
  }
}
