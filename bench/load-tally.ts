/** What all connections of a load client count together, and when their time is over. */
export class Tally {
  /** Requests that were answered, or connections that were made. */
  done = 0
  /** No more is to be begun. */
  isOver = false
  readonly #warmUpMs: number
  readonly #lengthMs: number
  #countFromMs = Number.POSITIVE_INFINITY
  #counted: { readonly sinceMs: number; readonly before: number } | undefined

  /** What is done in the first `warmUpMs` does not count: both sides compile their code then. */
  constructor(warmUpMs: number, lengthMs: number) {
    this.#warmUpMs = warmUpMs
    this.#lengthMs = lengthMs
  }

  start(nowMs = performance.now()): void {
    this.#countFromMs = nowMs + this.#warmUpMs
    this.look(nowMs)
  }

  /** Looks at the clock. */
  look(nowMs = performance.now()): void {
    if (nowMs < this.#countFromMs) return
    this.#counted ??= { sinceMs: nowMs, before: this.done }
    if (nowMs >= this.#countFromMs + this.#lengthMs) this.isOver = true
  }

  /** What was counted, when all is answered. */
  result(nowMs = performance.now()): { counted: number; seconds: number } {
    const { sinceMs, before } = this.#counted ?? { sinceMs: nowMs, before: this.done }
    return { counted: this.done - before, seconds: (nowMs - sinceMs) / 1000 }
  }
}
