/**
 * Keeps the event loop awake for a moment after requests were answered. A client with one request in flight
 * sends the next some microseconds later, and to wake a thread that sleeps takes longer than that.
 */

/** After so many vain moments in a row, one try in 2 ** 6 answers: under a microsecond for each of them. */
const missesMax = 6

/** The clock, and the event loop: others in a test. */
export interface Loop {
  /** In ms. */
  now(): number
  /** Calls back when what came meanwhile was looked at. */
  next(callback: () => void): void
}

const realLoop: Loop = { now: () => performance.now(), next: setImmediate }

/** One for all connections of a server: they share an event loop. */
export class BusyPoll {
  readonly #pollMs: number
  readonly #loop: Loop
  #polling = false
  #until = 0
  #misses = 0
  /** Answers to let pass before the next try. */
  #skip = 0

  /** @param us The moment, in microseconds; 0: it never stays awake. */
  constructor(us: number, loop: Loop = realLoop) {
    this.#pollMs = us / 1000
    this.#loop = loop
  }

  /** Requests were answered, and their connection has nothing else to wait for. */
  answered(): void {
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
    // A client that takes its time, or that has to run where we stay awake: it is asked less and less often.
    this.#polling = false
    this.#misses = Math.min(this.#misses + 1, missesMax)
    this.#skip = 2 ** this.#misses - 1
  }
}
