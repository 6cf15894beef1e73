/**
 * How many requests may wait for something at once. A request that its device answers at once never counts:
 * nothing else can run before it is done.
 */
export class Gate {
  readonly #limit: number
  #busy = 0
  #waiting: (() => void)[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  get full(): boolean {
    return this.#busy >= this.#limit
  }

  enter(): void {
    this.#busy++
  }

  /** Makes room, and calls everybody who waited for it, in the order they came. */
  leave(): void {
    this.#busy--
    this.wake()
  }

  /** Calls everybody who waits, to look again. */
  wake(): void {
    if (this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  /** Calls `wake` once, when there may be room: look again, somebody else may have been faster. */
  whenFree(wake: () => void): void {
    this.#waiting.push(wake)
  }

  /** For callbacks outside a request: waits for room, runs `work`, makes room. */
  async run<T>(work: () => T | Promise<T>): Promise<T> {
    while (this.full) await new Promise<void>((resolve) => this.whenFree(resolve))
    this.enter()
    try {
      return await work()
    } finally {
      this.leave()
    }
  }
}
