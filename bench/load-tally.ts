/** The common count of all connections of a load client, and the end of its time. */
export class Tally {
  /** Answered requests, or connections made. */
  done = 0
  /** True when no more work should start. */
  isOver = false
  readonly #warmUpMs: number
  readonly #lengthMs: number
  #countFromMs = Number.POSITIVE_INFINITY
  #counted: { readonly sinceMs: number; readonly before: number } | undefined

  /** Work in the first `warmUpMs` does not count, because both sides compile their code then. */
  constructor(warmUpMs: number, lengthMs: number) {
    this.#warmUpMs = warmUpMs
    this.#lengthMs = lengthMs
  }

  start(nowMs = performance.now()): void {
    this.#countFromMs = nowMs + this.#warmUpMs
    this.look(nowMs)
  }

  /** Checks the clock. */
  look(nowMs = performance.now()): void {
    if (nowMs < this.#countFromMs) return
    this.#counted ??= { sinceMs: nowMs, before: this.done }
    if (nowMs >= this.#countFromMs + this.#lengthMs) this.isOver = true
  }

  /** The counted work, once everything is answered. */
  result(nowMs = performance.now()): { counted: number; seconds: number } {
    const { sinceMs, before } = this.#counted ?? { sinceMs: nowMs, before: this.done }
    return { counted: this.done - before, seconds: (nowMs - sinceMs) / 1000 }
  }
}
