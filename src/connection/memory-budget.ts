/**
 * How much memory the large requests of all clients may hold, so that it stays bounded whatever they do. A
 * request holds what it reads until its client has taken it, and what it writes until the device has.
 */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { budgetBytes, stallMs } from '../protocol/limits.js'

/** One for all connections of a server. */
export class MemoryBudget {
  readonly #limitBytes: number
  #usedBytes = 0
  #waiting: (() => void)[] = []

  constructor(limitBytes = budgetBytes) {
    this.#limitBytes = limitBytes
  }

  /** True while somebody waits for memory. */
  get wanted(): boolean {
    return this.#waiting.length > 0
  }

  /** False where there is not so much left. One request is always let in, however large. */
  reserve(bytes: number): boolean {
    if (this.#usedBytes > 0 && this.#usedBytes + bytes > this.#limitBytes) return false
    this.#usedBytes += bytes
    return true
  }

  /** Gives back, and calls everybody who waits, in the order they came. */
  release(bytes: number): void {
    this.#usedBytes -= bytes
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  /** Calls `wake` once, when there may be more: try again, somebody else may have been faster. */
  whenReleased(wake: () => void): void {
    this.#waiting.push(wake)
  }
}

/** What one connection has reserved. It tells of a client that keeps others waiting, and does nothing. */
export class MemoryShare {
  readonly #budget: MemoryBudget
  readonly #stream: Duplex
  #bytes = 0
  #ended = false

  /** @param stalled Called while others wait, and the client neither takes nor sends. */
  constructor(budget: MemoryBudget, stream: Duplex, stalled: () => void) {
    this.#budget = budget
    this.#stream = stream
    stream.on('timeout', () => {
      this.#watch()
      if (budget.wanted) stalled()
    })
  }

  reserve(bytes: number): boolean {
    if (!this.#budget.reserve(bytes)) return false
    this.#bytes += bytes
    if (this.#bytes === bytes) this.#watch()
    return true
  }

  release(bytes: number): void {
    // A connection that has ended gave back all that it had.
    if (this.#ended || bytes === 0) return
    this.#bytes -= bytes
    if (this.#bytes === 0) this.#watch()
    this.#budget.release(bytes)
  }

  /** Gives back all, for good. */
  end(): void {
    this.release(this.#bytes)
    this.#ended = true
  }

  whenReleased(wake: () => void): void {
    this.#budget.whenReleased(wake)
  }

  /** Node counts as activity what the system takes of a long write, too. Other streams cannot be watched. */
  #watch(): void {
    if (this.#stream instanceof Socket) this.#stream.setTimeout(this.#bytes > 0 ? stallMs : 0)
  }
}
