/**
 * The current payload, which arrives in pieces. A large one takes memory of its client's budget in steps, as
 * its bytes arrive, so a client that announces much and sends little holds little.
 */

import type { BufferPool } from './buffer-pool.js'
import type { MemoryShare } from './memory-budget.js'
import { largeBytesMin, payloadStepBytes, receiveIntoPlaceBytes } from './tuning.js'

/** A payload that has fully arrived. */
export interface WholePayload {
  readonly bytes: Uint8Array
  /** Gives the memory back, unless the device lent it. */
  release(): void
}

export class Payload {
  readonly #pool: BufferPool
  readonly #share: MemoryShare
  readonly #wake: () => void
  #bytes: Uint8Array | undefined
  #inWindow = false
  #length = 0
  #filled = 0
  /** Bytes of the payload for which memory is reserved. */
  #allowed = 0
  #waits = false

  /** Calls `wake` when there is memory for a payload that waits. */
  constructor(pool: BufferPool, share: MemoryShare, wake: () => void) {
    this.#pool = pool
    this.#share = share
    this.#wake = wake
  }

  /** Bytes that have not arrived. */
  get missingBytes(): number {
    return this.#bytes === undefined ? 0 : this.#length - this.#filled
  }

  /** True while the rest of the payload waits for memory. */
  get waits(): boolean {
    return this.#waits
  }

  /** Begins a payload of `length` bytes. It is received into `window` where the device lent one. */
  begin(length: number, window: Uint8Array | undefined): void {
    this.#inWindow = window !== undefined
    this.#length = length
    // Allocate the full size with the second step: memory that a client only announces makes the engine
    // collect garbage.
    this.#bytes = window ?? this.#pool.take(Math.min(length, payloadStepBytes))
    this.#filled = 0
    const isCounted = window === undefined && length >= largeBytesMin
    this.#allowed = isCounted ? 0 : length
    if (isCounted) this.goOn()
  }

  /** Takes memory for the next step. Returns false where the payload has to wait. */
  goOn(): boolean {
    const length = this.#length
    if (this.#share.waits) return false
    if (this.#filled < this.#allowed || this.#allowed === length) return true
    const bytes = Math.min(payloadStepBytes, length - this.#allowed)
    this.#waits = !this.#share.reserve(bytes, this.#wake, this.#allowed > 0)
    if (this.#waits) return false
    this.#allowed += bytes
    if (this.#bytes !== undefined && this.#allowed > this.#bytes.length)
      this.#bytes = this.#whole(this.#bytes)
    return true
  }

  /** Allocates memory for the whole payload, and copies the received part into it. */
  #whole(part: Uint8Array): Uint8Array {
    const whole = this.#pool.take(this.#length)
    whole.set(part)
    this.#pool.give(part)
    return whole
  }

  /** Memory that the next bytes should be received into, where they belong to a large payload. */
  place(): Uint8Array | undefined {
    // While the payload waits for memory, its bytes are kept elsewhere.
    if (this.#waits || this.missingBytes < receiveIntoPlaceBytes) return undefined
    return this.#bytes?.subarray(this.#filled, this.#allowed)
  }

  /** Reports `length` bytes received into the memory from `place`. */
  receivedInPlace(length: number): void {
    this.#filled += length
    this.goOn()
  }

  /** Copies from `source` as far as there is memory. Returns the number of bytes taken. */
  fill(source: Uint8Array, from: number, end: number): number {
    let at = from
    while (this.#bytes !== undefined && at < end && this.missingBytes > 0 && this.goOn()) {
      const taken = Math.min(this.#allowed - this.#filled, end - at)
      this.#bytes.set(source.subarray(at, at + taken), this.#filled)
      this.#filled += taken
      at += taken
    }
    return at - from
  }

  /** Returns the payload, which has fully arrived. The next one may begin. */
  take(): WholePayload {
    const bytes = this.#bytes ?? new Uint8Array(0)
    const inWindow = this.#inWindow
    const counted = bytes.length >= largeBytesMin ? bytes.length : 0
    this.#bytes = undefined
    const release = () => {
      if (inWindow) return
      this.#pool.give(bytes)
      this.#share.release(counted)
    }
    return { bytes, release }
  }

  /** Gives the memory back in the middle of a payload. Returns the number of bytes that have not arrived. */
  abandon(): number {
    const { missingBytes } = this
    this.#share.cancel()
    this.#waits = false
    if (this.#bytes !== undefined && !this.#inWindow) {
      this.#pool.give(this.#bytes)
      if (this.#length >= largeBytesMin) this.#share.release(this.#allowed)
    }
    this.#bytes = undefined
    return missingBytes
  }
}
