/** When a connection ends that was told to: after a quiet time, and at a deadline whatever it does. */

/** Node's timers count in 32 bits; what is longer is without end. */
export const timeoutMsMax = 2 ** 31 - 1

export interface EndingEvents {
  /** Looks whether the connection is idle, and calls `active`. */
  look(): void
  /** It has been quiet for long enough. */
  quiet(): void
  /** The deadline has come. */
  late(): void
}

export class Ending {
  readonly #events: EndingEvents
  #quietMs: number | undefined
  #quiet: NodeJS.Timeout | undefined
  #lastLook: NodeJS.Immediate | undefined
  #deadline: { readonly at: number; readonly timer: NodeJS.Timeout } | undefined

  constructor(events: EndingEvents) {
    this.#events = events
  }

  /**
   * From now on it ends after so long a quiet. Asked again, a shorter quiet holds; a longer one changes
   * nothing.
   */
  afterQuiet(ms: number): void {
    if (ms > timeoutMsMax || ms >= (this.#quietMs ?? Number.POSITIVE_INFINITY)) return
    this.#quietMs = ms
    // Not at once: a callback may ask for it, and nothing may end under that callback.
    setImmediate(() => this.#events.look())
  }

  /** From now on it ends after so long, whatever it does. Asked again, the earlier deadline holds. */
  within(ms: number): void {
    const at = performance.now() + ms
    if (ms > timeoutMsMax || at >= (this.#deadline?.at ?? Number.POSITIVE_INFINITY)) return
    clearTimeout(this.#deadline?.timer)
    this.#deadline = { at, timer: setTimeout(() => this.#events.late(), ms) }
  }

  /** Something happened: the quiet begins anew, if there is nothing to do. */
  active(idle: () => boolean): void {
    if (this.#quietMs === undefined) return
    this.closed()
    if (!idle()) return
    if (this.#quietMs === 0) this.#events.quiet()
    else
      this.#quiet = setTimeout(() => {
        // What came while the server was busy elsewhere is read before this: it is not quiet then.
        this.#lastLook = setImmediate(() => this.#events.quiet())
      }, this.#quietMs)
  }

  /** It is closed, and need not be quiet. The deadline holds until all of it is gone. */
  closed(): void {
    clearTimeout(this.#quiet)
    clearImmediate(this.#lastLook)
  }

  gone(): void {
    this.closed()
    clearTimeout(this.#deadline?.timer)
  }
}
