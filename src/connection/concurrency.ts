/**
 * Limits how many requests wait at once. A request that its device answers at once never counts, because
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

  /** Makes room, and calls all waiting callbacks in the order they came. */
  leave(): void {
    this.#busy--
    this.wake()
  }

  /** Calls all waiting callbacks, which check again for room. */
  wake(): void {
    if (this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  /**
   * Calls `wake` once when there may be room. The callback has to check again: another may have taken the
   * room.
   */
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
