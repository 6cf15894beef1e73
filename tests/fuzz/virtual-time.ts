/**
 * Time that passes only when a test says so: for runs that wait for much, take no time and can be repeated.
 */
interface Timer {
  readonly at: number
  readonly call: () => void
  ref(): Timer
  unref(): Timer
}

const real = { setTimeout, clearTimeout }

/** Takes the place of `setTimeout` and `clearTimeout`. One at a time. */
export class VirtualTime {
  #now = 0
  readonly #timers = new Set<Timer>()

  install(): void {
    const set = (callback: (...given: unknown[]) => void, ms = 0, ...given: unknown[]): Timer => {
      // As in Node: what does not fit into 32 bits fires at once.
      const delay = ms >= 1 && ms < 2 ** 31 ? ms : 1
      const timer: Timer = {
        at: this.#now + delay,
        call: () => callback(...given),
        ref: () => timer,
        unref: () => timer,
      }
      this.#timers.add(timer)
      return timer
    }
    const clear = (timer: Timer | undefined) => {
      if (timer !== undefined && !this.#timers.delete(timer))
        real.clearTimeout(timer as unknown as NodeJS.Timeout)
    }
    globalThis.setTimeout = set as unknown as typeof setTimeout
    globalThis.clearTimeout = clear as unknown as typeof clearTimeout
  }

  restore(): void {
    Object.assign(globalThis, real)
    this.#timers.clear()
  }

  /** Calls what is due in the next `ms`, in order. */
  pass(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end)
      const next = due.reduce<Timer | undefined>(
        (first, one) => (first && first.at <= one.at ? first : one),
        undefined,
      )
      if (next === undefined) break
      this.#timers.delete(next)
      this.#now = next.at
      next.call()
    }
    this.#now = end
  }
}
