/**
 * Decides when a connection that was told to end ends: after a quiet period, or at a deadline in any case.
 */

/** Node's timers count in 32 bits. A longer time means no limit. */
export const timeoutMsMax = 2 ** 31 - 1

export interface EndingEvents {
  /** Checks whether the connection is idle, and calls `active`. */
  look(): void
  /** The connection has been quiet for long enough. */
  quiet(): void
  /** The deadline has come. */
  late(): void
}

export class Ending {
  readonly #events: EndingEvents
  #quietMs: number | undefined
  /** The client sends no more, so nothing is on its way. */
  #atOnce = false
  #quiet: NodeJS.Timeout | undefined
  #lastLook: NodeJS.Immediate | undefined
  #deadline: { readonly at: number; readonly timer: NodeJS.Timeout } | undefined

  constructor(events: EndingEvents) {
    this.#events = events
  }

  /**
   * Ends the connection after this long a quiet period. A later call can shorten the period, but not lengthen
   * it.
   */
  afterQuiet(ms: number): void {
    if (ms > timeoutMsMax || ms >= (this.#quietMs ?? Number.POSITIVE_INFINITY)) return
    this.#quietMs = ms
    // Look later: a callback may ask for this, and nothing may end while that callback runs.
    setImmediate(() => this.#events.look())
  }

  /** Ends the connection as soon as it is idle: the client sends no more. */
  whenIdle(): void {
    this.#atOnce = true
    this.afterQuiet(0)
  }

  /** Ends the connection after this time, whatever it does. Of several calls, the earliest deadline holds. */
  within(ms: number): void {
    const at = performance.now() + ms
    if (ms > timeoutMsMax || at >= (this.#deadline?.at ?? Number.POSITIVE_INFINITY)) return
    clearTimeout(this.#deadline?.timer)
    this.#deadline = { at, timer: setTimeout(() => this.#events.late(), ms) }
  }

  /** Reports activity: the quiet period starts again if the connection is idle. */
  active(idle: () => boolean): void {
    if (this.#quietMs === undefined) return
    this.closed()
    if (!idle()) return
    if (this.#atOnce) this.#events.quiet()
    else if (this.#quietMs === 0) this.#lookOnce()
    else this.#quiet = setTimeout(() => this.#lookOnce(), this.#quietMs)
  }

  /** Data that came while the event loop was busy is read before this. The connection is then not quiet. */
  #lookOnce(): void {
    this.#lastLook = setImmediate(() => this.#events.quiet())
  }

  /** The connection is closed and needs no quiet period. The deadline holds until the rest is gone. */
  closed(): void {
    clearTimeout(this.#quiet)
    clearImmediate(this.#lastLook)
  }

  gone(): void {
    this.closed()
    clearTimeout(this.#deadline?.timer)
  }
}
