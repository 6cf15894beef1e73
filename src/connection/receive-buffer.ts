import { viewOf } from '../protocol/bytes.js'
import type { BufferPool } from './buffer-pool.js'
import { receiveBytes } from './tuning.js'

/** Enough for a handshake, and for a client with one request at a time. */
const firstBytes = 4096

/** Received bytes, with a view for the header fields. A buffer is pinned while a device uses its bytes. */
export class ReceiveBuffer {
  readonly bytes: Uint8Array
  readonly view: DataView
  /** False where the memory belongs to somebody else and is not kept. */
  readonly pooled: boolean
  pins = 0

  constructor(bytes: Uint8Array, pooled = false) {
    this.bytes = bytes
    this.view = viewOf(bytes)
    this.pooled = pooled
  }
}

const none = new ReceiveBuffer(new Uint8Array(0))

/**
 * The buffers a connection receives into: a small one while the connection is quiet, a large one after it was
 * filled, and a new one while a device still uses bytes of the last. A small write thus reaches the device
 * without a copy, even if the device is async.
 */
export class ReceiveBuffers {
  readonly #pool: BufferPool
  #current: ReceiveBuffer

  constructor(pool: BufferPool) {
    this.#pool = pool
    this.#current = new ReceiveBuffer(pool.take(firstBytes), true)
  }

  get current(): ReceiveBuffer {
    return this.#current
  }

  /** The buffer to receive into next, after `received` bytes came into the current one. */
  next(received: number): ReceiveBuffer {
    const last = this.#current
    const filled = received === last.bytes.length && received < receiveBytes
    if (last.pins > 0 || filled) {
      this.#current = new ReceiveBuffer(this.#pool.take(filled ? receiveBytes : last.bytes.length), true)
      if (last.pins === 0) this.#pool.give(last.bytes)
    }
    return this.#current
  }

  unpin(buffer: ReceiveBuffer): void {
    buffer.pins--
    if (buffer.pins === 0 && buffer.pooled && buffer !== this.#current) this.#pool.give(buffer.bytes)
  }

  /** The connection receives no more. */
  release(): void {
    if (this.#current.pins === 0) this.#pool.give(this.#current.bytes)
    this.#current = none
  }
}
