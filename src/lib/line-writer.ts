import { messageOf } from '../api/errors.js'

/** Where lines go. None of it waits for a reader or a disk. */
export interface Outlet {
  /**
   * Writes as much as can be written at once, and returns how many bytes. Undefined: nothing can.
   *
   * @param atLast the process ends: a disk may be waited for.
   */
  now(bytes: Uint8Array, atLast: boolean): number | undefined
  /** Writes all of it on another thread; where there is none, `now` is tried again. */
  later?(bytes: Uint8Array): Promise<void>
  close(): void
}

export interface LineWriterOptions {
  /** The text that is written in place of lines that were dropped. */
  dropped(lines: number): string
  /** Called for the first of several errors in a row. What was to be written is thrown away. */
  failed?(message: string): void
  /** Bytes that may wait. */
  readonly waitingMax?: number
}

/** How long until a reader that takes nothing is tried again, in ms. */
const retryMs = 20
const defaultWaitingMax = 256 * 1024

/**
 * Writes lines at once, in order, and waits for nobody: what a reader does not take is kept, up to a limit,
 * and tried again. Lines beyond that are dropped and counted, and the count is written in their place.
 */
export class LineWriter {
  readonly #outlet: Outlet
  readonly #options: LineWriterOptions
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #dropped = 0
  #timer: NodeJS.Timeout | undefined
  /** The first of those that wait is being written on another thread. */
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
    // A line that is longer than the limit has its chance, too.
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes.length > waitingMax) {
      this.#dropped++
      return
    }
    if (this.#dropped > 0) this.#tellDropped()
    this.#push(bytes)
    // What waits already is tried by its timer.
    if (this.#waiting.length === 1) this.#drain(false)
  }

  /** Waits up to so many ms, and holds the event loop, until all is written. For the end of the process. */
  flush(ms: number): void {
    const until = performance.now() + ms
    // What another thread writes is written, or never will be.
    if (this.#busy) this.#shift()
    this.#busy = undefined
    while (!this.#drain(true) && performance.now() < until)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
  }

  /** No more lines. Those that wait are given so many ms. */
  async close(ms: number): Promise<void> {
    this.#closed = true
    const until = performance.now() + ms
    while (this.#waiting.length > 0 && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, Math.min(ms, retryMs)))
    this.discard()
  }

  /** At once: what waits is thrown away. */
  discard(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#waiting = []
    this.#waitingBytes = 0
    this.#outlet.close()
  }

  /** True: nothing waits any more. */
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
    // A flush was faster.
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

  /** Whoever would read it has gone away, or the disk is full: what waits is lost with it. */
  #fail(error: unknown): void {
    this.#waiting = []
    this.#waitingBytes = 0
    this.#dropped = 0
    if (!this.#failing) this.#options.failed?.(messageOf(error))
    this.#failing = true
  }
}
