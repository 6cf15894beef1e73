import { messageOf } from '../api/errors.js'

/** A destination for lines. `now` never waits for a reader or a disk, except at the end. */
export interface Outlet {
  /**
   * Writes as much as possible at once. Returns the number of bytes; undefined for none.
   *
   * @param atLast the process is ending, so the call may wait for a disk.
   */
  now(bytes: Uint8Array, atLast: boolean): number | undefined
  /** Writes all bytes on another thread. Without this method, `now` is tried again. */
  later?(bytes: Uint8Array): Promise<void>
  close(): void
}

export interface LineWriterOptions {
  /** The text written in place of dropped lines. */
  dropped(lines: number): string
  /** Called for the first of several errors in a row. Waiting lines are discarded. */
  failed?(message: string): void
  /** The most bytes that may wait. */
  readonly waitingMax?: number
}

/** Time until a reader that takes nothing is tried again, in ms. */
const retryMs = 20
const defaultWaitingMax = 256 * 1024

/**
 * Writes lines at once, in order, without waiting. Lines that the reader does not take are kept up to a limit
 * and tried again. Further lines are dropped and counted, and the count is written in their place.
 */
export class LineWriter {
  readonly #outlet: Outlet
  readonly #options: LineWriterOptions
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #dropped = 0
  #timer: NodeJS.Timeout | undefined
  /** Another thread is writing the first waiting line. */
  #busy: Promise<void> | undefined
  #failing = false
  #closed = false

  constructor(outlet: Outlet, options: LineWriterOptions) {
    this.#outlet = outlet
    this.#options = options
  }

  write(text: string | Uint8Array): void {
    if (this.#closed) return
    const bytes = Buffer.from(text)
    const { waitingMax = defaultWaitingMax } = this.#options
    // A line longer than the limit is accepted when nothing waits.
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes.length > waitingMax) {
      this.#dropped++
      return
    }
    if (this.#dropped > 0) this.#tellDropped()
    this.#push(bytes)
    // The timer retries lines that wait already.
    if (this.#waiting.length === 1) this.#drain(false)
  }

  /** Blocks the event loop for up to `ms` until everything is written. For the end of the process. */
  flush(ms: number): void {
    const until = performance.now() + ms
    // Assume the other thread's line is written: if not, it never will be.
    if (this.#busy) this.#shift()
    this.#busy = undefined
    while (!this.#drain(true) && performance.now() < until)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
  }

  /** Accepts no more lines. Waiting lines get `ms` to be written. */
  async close(ms: number): Promise<void> {
    this.#closed = true
    const until = performance.now() + ms
    while (this.#waiting.length > 0 && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, Math.min(ms, retryMs)))
    this.discard()
  }

  /** Closes at once. Waiting lines are discarded. */
  discard(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#waiting = []
    this.#waitingBytes = 0
    this.#outlet.close()
  }

  /** Returns true when nothing waits. */
  #drain(atLast: boolean): boolean {
    if (this.#busy) return false
    for (;;) {
      const [first] = this.#waiting
      if (first === undefined) {
        if (this.#dropped === 0) return true
        this.#tellDropped()
        continue
      }
      let done: number | undefined
      try {
        done = this.#outlet.now(first, atLast)
      } catch (error) {
        this.#fail(error)
        return true
      }
      if (done === first.length) {
        this.#failing = false
        this.#shift()
      } else {
        if (done) {
          this.#waiting[0] = first.subarray(done)
          this.#waitingBytes -= done
        }
        if (!atLast) this.#tryLater(first.subarray(done ?? 0))
        return false
      }
    }
  }

  #tryLater(bytes: Uint8Array): void {
    const { later } = this.#outlet
    if (later === undefined) {
      this.#timer = setTimeout(() => this.#drain(false), retryMs).unref()
      return
    }
    const busy: Promise<void> = later(bytes).then(
      () => this.#settled(busy),
      (error: unknown) => this.#settled(busy, error),
    )
    this.#busy = busy
  }

  #settled(busy: Promise<void>, error?: unknown): void {
    // A flush came first.
    if (this.#busy !== busy) return
    this.#busy = undefined
    if (error !== undefined) this.#fail(error)
    else this.#shift()
    this.#drain(false)
  }

  #push(bytes: Uint8Array): void {
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
  }

  #shift(): void {
    this.#waitingBytes -= this.#waiting.shift()?.length ?? 0
  }

  #tellDropped(): void {
    const lines = this.#dropped
    this.#dropped = 0
    this.#push(Buffer.from(this.#options.dropped(lines)))
  }

  /** The reader has gone away or the disk is full: waiting lines are lost. */
  #fail(error: unknown): void {
    this.#waiting = []
    this.#waitingBytes = 0
    this.#dropped = 0
    if (!this.#failing) this.#options.failed?.(messageOf(error))
    this.#failing = true
  }
}
