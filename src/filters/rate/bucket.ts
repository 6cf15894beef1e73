/** A limit of bytes over time, as a token bucket. */

/**
 * Bytes pass in the order in which they came. A bucket that was unused has saved up bytes for some time, and
 * lets them pass at once.
 */
export class Bucket {
  readonly #burstMs: number
  readonly #now: () => number
  /** Bytes for each ms; Infinity for no limit. */
  #rate: number
  /** Bytes that were asked for so far, and bytes that may pass by now. */
  #asked = 0
  #allowed: number
  #at: number

  /**
   * @param rate in bytes for each ms; 0 for no limit.
   * @param burstMs the time for which unused bytes are saved up.
   * @param now defaults to `performance.now()`, in ms. Tests pass their own clock.
   */
  constructor(rate: number, burstMs: number, now: () => number = () => performance.now()) {
    this.#burstMs = burstMs
    this.#now = now
    this.#rate = rate === 0 ? Number.POSITIVE_INFINITY : rate
    this.#at = now()
    this.#allowed = this.#capacity
  }

  get #capacity(): number {
    return this.#rate === Number.POSITIVE_INFINITY ? 0 : this.#rate * this.#burstMs
  }

  /** Changes the rate from now on, for requests that wait as well. */
  set rate(rate: number) {
    this.#fill()
    this.#rate = rate === 0 ? Number.POSITIVE_INFINITY : rate
    this.#allowed = Math.min(this.#allowed, this.#asked + this.#capacity)
  }

  /** Asks for bytes. Returns their place in the order. */
  ask(bytes: number): number {
    this.#fill()
    this.#asked += bytes
    return this.#asked
  }

  /** The time until the bytes up to a place may pass, in ms. 0 where they may pass now. */
  waitMs(place: number): number {
    this.#fill()
    return this.#rate === Number.POSITIVE_INFINITY ? 0 : Math.max(0, (place - this.#allowed) / this.#rate)
  }

  #fill(): void {
    const now = this.#now()
    // Without a limit, all that was asked for has passed.
    const more =
      this.#rate === Number.POSITIVE_INFINITY ? Number.POSITIVE_INFINITY : (now - this.#at) * this.#rate
    this.#allowed = Math.min(this.#allowed + more, this.#asked + this.#capacity)
    this.#at = now
  }
}
