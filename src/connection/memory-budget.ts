/**
 * Bounds the memory that the large requests of all clients hold, whatever the clients do.
 *
 * A READ holds memory until its client has taken the data. A WRITE takes memory as its payload arrives, and
 * holds it until the device has written the payload. Each client has a share that no other client can use, so
 * a request that fits into the share never waits. The rest comes from memory common to all clients, for which
 * requests wait in the order they came.
 */
import {
  budgetBytes,
  paceBytesMin,
  shareBytesMax as shareBytesLimit,
  shareBytesMin,
  sharesBytes,
  stallMs,
} from './tuning.js'

/** A connection that waits for common memory. */
interface Waiter {
  readonly share: MemoryShare
  readonly bytes: number
  /** Part of the request's payload has arrived. */
  readonly begun: boolean
  readonly wake: () => void
}

/** Tells about a client that holds common memory while others wait. */
export interface Holder {
  /** Bytes that the client has sent and taken so far. */
  movedBytes(): number
  /** Called when the client has moved less than `paceBytesMin` in `stallMs`. */
  stalled(): unknown
}

export interface BudgetOptions {
  /** Common memory, in bytes. */
  readonly limitBytes?: number
  /** The largest share that one connection has for itself, in bytes. */
  readonly shareBytesMax?: number
  /** Defaults to `performance.now()`, in ms. Tests pass their own clock. */
  readonly now?: () => number
}

/** One for all connections of a server. */
export class MemoryBudget {
  readonly #limitBytes: number
  readonly #shareBytesMax: number
  readonly #now: () => number
  readonly #holders = new Set<MemoryShare>()
  #usedBytes = 0
  #shares = 0
  #queue: Waiter[] = []
  /** The connection that may exceed the limit, so that half-received payloads do not block each other. */
  #beyond: MemoryShare | undefined
  #watch: NodeJS.Timeout | undefined

  constructor(options: BudgetOptions = {}) {
    const {
      limitBytes = budgetBytes,
      shareBytesMax = shareBytesLimit,
      now = () => performance.now(),
    } = options
    this.#limitBytes = limitBytes
    this.#shareBytesMax = shareBytesMax
    this.#now = now
  }

  /** True while a connection waits for common memory. */
  get wanted(): boolean {
    return this.#queue.length > 0
  }

  /** Common memory in use, in bytes. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  /** The share of each connection, in bytes. It shrinks when there are many connections. */
  get shareBytes(): number {
    const fair = Math.max(shareBytesMin, Math.floor(sharesBytes / this.#shares))
    return Math.min(fair, this.#shareBytesMax)
  }

  join(): void {
    this.#shares++
  }

  leave(share: MemoryShare): void {
    this.#shares--
    this.#holders.delete(share)
    this.cancel(share)
  }

  /** Takes common memory for `share`. Returns false where the connection has to wait. */
  take(share: MemoryShare, bytes: number, begun: boolean): boolean {
    if (this.#queue.length > 0 || !this.#fits(bytes)) {
      if (!begun || !this.#mayGoBeyond(share)) return false
      this.#beyond = share
    }
    this.#add(share, bytes)
    return true
  }

  give(share: MemoryShare, bytes: number, left: number): void {
    this.#usedBytes -= bytes
    if (left === 0) this.#holders.delete(share)
    if (this.#beyond === share) this.#beyond = undefined
    this.#serve()
  }

  /** Calls `wake` once, after memory was taken for the connection. Half-received payloads come first. */
  wait(waiter: Waiter): void {
    if (waiter.begun) this.#queue.unshift(waiter)
    else this.#queue.push(waiter)
    this.#watch ??= setInterval(() => this.checkPace(), stallMs / 10).unref()
    for (const holder of this.#holders) holder.mark(this.#now())
  }

  cancel(share: MemoryShare): void {
    const before = this.#queue.length
    this.#queue = this.#queue.filter((waiter) => waiter.share !== share)
    if (this.#queue.length < before) this.#serve()
  }

  /** Drops each holder that is too slow while others wait. */
  checkPace(): void {
    if (this.#queue.length === 0) {
      clearInterval(this.#watch)
      this.#watch = undefined
      for (const holder of this.#holders) holder.unmark()
      return
    }
    for (const holder of [...this.#holders]) holder.checkPace(this.#now())
  }

  /** One request is always let in, however large. */
  #fits(bytes: number): boolean {
    return this.#usedBytes === 0 || this.#usedBytes + bytes <= this.#limitBytes
  }

  #mayGoBeyond(share: MemoryShare): boolean {
    return this.#beyond === undefined || this.#beyond === share
  }

  #add(share: MemoryShare, bytes: number): void {
    this.#usedBytes += bytes
    this.#holders.add(share)
    if (this.#queue.length > 0) share.mark(this.#now())
  }

  #serve(): void {
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      const { share, bytes, begun, wake } = first
      const fits = this.#fits(bytes)
      if (!fits && !(begun && this.#mayGoBeyond(share))) return
      if (!fits) this.#beyond = share
      this.#queue.shift()
      this.#add(share, bytes)
      wake()
    }
  }
}

/** The memory that one connection holds. */
export class MemoryShare {
  readonly #budget: MemoryBudget
  readonly #holder: Holder
  /** Bytes held of the connection's own share, and of common memory. */
  #ownBytes = 0
  #commonBytes = 0
  /** Bytes that the budget took for the waiting request. */
  #grantedBytes = 0
  #waits = false
  #ended = false
  #mark: { readonly at: number; readonly movedBytes: number } | undefined

  constructor(budget: MemoryBudget, holder: Holder) {
    this.#budget = budget
    this.#holder = holder
    budget.join()
  }

  /** True while a request of this connection waits for memory. */
  get waits(): boolean {
    return this.#waits
  }

  /**
   * Takes `bytes` for a request. Returns false where the request has to wait: then `wake` is called once,
   * when it may try again. `begun` means that part of the request's payload has arrived.
   */
  reserve(bytes: number, wake: () => void, begun = false): boolean {
    if (this.#waits || this.#ended) return false
    const own = Math.min(bytes, Math.max(0, this.#budget.shareBytes - this.#ownBytes))
    const common = bytes - own - this.#grantedBytes
    if (common > 0 && !this.#budget.take(this, common, begun)) {
      this.#waits = true
      const woken = () => {
        this.#waits = false
        this.#grantedBytes += common
        wake()
      }
      this.#budget.wait({ share: this, bytes: common, begun, wake: woken })
      return false
    }
    this.#ownBytes += own
    this.#commonBytes += bytes - own
    const unused = Math.max(0, -common)
    this.#grantedBytes = 0
    if (unused > 0) this.#budget.give(this, unused, this.#commonBytes)
    return true
  }

  /** Gives back `bytes`, those of common memory first. */
  release(bytes: number): void {
    // A connection that has ended has given back all its memory.
    if (this.#ended || bytes === 0) return
    const common = Math.min(bytes, this.#commonBytes)
    this.#commonBytes -= common
    this.#ownBytes -= bytes - common
    if (common > 0) this.#budget.give(this, common, this.#commonBytes)
  }

  /** Cancels the request that waits, or that was woken and has not taken its memory. */
  cancel(): void {
    if (this.#waits) this.#budget.cancel(this)
    this.#waits = false
    const granted = this.#grantedBytes
    this.#grantedBytes = 0
    if (granted > 0) this.#budget.give(this, granted, this.#commonBytes)
  }

  /** Gives back everything, for good. */
  end(): void {
    if (this.#ended) return
    this.cancel()
    this.release(this.#ownBytes + this.#commonBytes)
    this.#ended = true
    this.#budget.leave(this)
  }

  /** Starts the pace clock, unless it is running. */
  mark(now: number): void {
    this.#mark ??= { at: now, movedBytes: this.#holder.movedBytes() }
  }

  unmark(): void {
    this.#mark = undefined
  }

  checkPace(now: number): void {
    this.mark(now)
    if (this.#mark === undefined || now - this.#mark.at < stallMs) return
    const movedBytes = this.#holder.movedBytes()
    const tooSlow = movedBytes - this.#mark.movedBytes < paceBytesMin
    this.#mark = { at: now, movedBytes }
    if (tooSlow) this.#holder.stalled()
  }
}
