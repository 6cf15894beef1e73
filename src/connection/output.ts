/**
 * Outgoing bytes of one connection. Small pieces are copied into one buffer, large ones are sent without a
 * copy, and a batch is written at once. Memory lent for data comes back when the socket has taken it.
 */
import type { Duplex } from 'node:stream'
import { isZeroes } from '../api/zeroes.js'
import { takenBytes } from '../net/onread-socket.js'
import { viewOf } from '../protocol/bytes.js'
import type { BufferPool } from './buffer-pool.js'
import type { Transport } from './transport.js'
import { copyBytesMax, outputBytes, outputBytesMax } from './tuning.js'

const noView = new DataView(new ArrayBuffer(0))

export class Output {
  readonly #stream: Duplex
  readonly #pool: BufferPool
  readonly #copies: boolean
  readonly #onTaken: () => void
  /** The buffer being filled. Its bytes from `#start` to `end` are not yet in `#parts`. */
  #buffer: Uint8Array | undefined
  /** The buffer being filled, to encode at `end` after `room`. */
  view: DataView = noView
  #start = 0
  /** The end of the bytes in `view`. */
  end = 0
  /** Space further on in `view` that a device may fill. */
  #reserved: Uint8Array | undefined
  /** Sealed parts of this batch, in order. */
  #parts: Uint8Array[] = []
  #batchBytes = 0
  #writtenBytes = 0
  #congested = false
  /** Memory of this batch, to give back to the pool some time after the batch was written. */
  #batchHeld: Uint8Array[] = []
  /** Memory of written batches, to give back when the socket has taken all of them. */
  #held: Uint8Array[] = []

  /**
   * Calls `onTaken` when the socket has taken everything written, unless it took everything at once.
   *
   * Over a stream that does not copy, no memory is reused: the reader of the stream may keep each chunk.
   */
  constructor(
    { stream, copies }: Pick<Transport, 'stream' | 'copies'>,
    pool: BufferPool,
    onTaken: () => void,
  ) {
    this.#stream = stream
    this.#copies = copies
    this.#pool = pool
    this.#onTaken = onTaken
  }

  /** Bytes queued since the last flush. */
  get batchBytes(): number {
    return this.#batchBytes
  }

  /** True while the client takes its replies too slowly. The device should then get no more requests. */
  get congested(): boolean {
    return this.#congested
  }

  /** Bytes queued or written that the socket has not taken. */
  get pendingBytes(): number {
    return this.#batchBytes + this.#stream.writableLength
  }

  /** Bytes that the client has taken, as far as known. */
  get takenBytes(): number {
    return takenBytes(this.#stream) ?? this.#writtenBytes - this.#stream.writableLength
  }

  /** Pieces of memory held for this batch. */
  get heldCount(): number {
    return this.#batchHeld.length
  }

  /**
   * Reserves `length` bytes, at most `copyBytesMax`, that begin `headerBytes` after the end. The space is
   * valid until `put` is called with the same view, `release` or `detach`. Returns undefined while another
   * reservation is open.
   */
  reserve(headerBytes: number, length: number): Uint8Array | undefined {
    if (this.#reserved !== undefined) return undefined
    this.room(headerBytes + length)
    const at = this.end + headerBytes
    this.#reserved = this.#buffer?.subarray(at, at + length)
    return this.#reserved
  }

  /** Ends the reservation: the device fills the space no more. */
  release(): void {
    this.#reserved = undefined
  }

  /**
   * Detaches reserved space that an async device still fills. Returns the buffer around the space, or
   * undefined where none was reserved.
   */
  detach(): Uint8Array | undefined {
    if (this.#reserved === undefined) return undefined
    const buffer = this.#buffer
    this.#seal()
    this.#buffer = undefined
    this.#reserved = undefined
    return buffer
  }

  /** Like `detach` before the reply to `data`, which may be built on the reserved space. */
  detachFor(data: unknown): void {
    if (this.#reserved === undefined || data === this.#reserved) return
    const buffer = this.detach()
    if (buffer !== undefined) this.#batchHeld.push(buffer)
  }

  /** Ensures that `view` has room for `length` bytes after `end`. */
  room(length: number): void {
    if (this.#buffer !== undefined && this.end + length <= this.#buffer.length) return
    this.#seal()
    if (this.#buffer !== undefined) this.#batchHeld.push(this.#buffer)
    this.#buffer = this.#pool.take(outputBytes)
    this.view = viewOf(this.#buffer)
    this.#start = 0
    this.end = 0
  }

  /** Queues the bytes of `view` up to `to`. */
  advance(to: number): void {
    this.#batchBytes += to - this.end
    this.end = to
  }

  /** Queues data. Memory of the pool goes back to the pool when the socket has taken the data. */
  put(part: Uint8Array): void {
    if (part === this.#reserved) {
      this.#reserved = undefined
      this.advance(this.end + part.length)
      return
    }
    const lent = this.#pool.takeBack(part)
    const copied = this.#queue(part, lent)
    if (lent && copied) this.#pool.give(part)
    else if (lent) this.#batchHeld.push(part)
  }

  /** Queues parts. Several parts may share the same memory, which is kept until all of them are sent. */
  putAll(parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      const lent = this.#pool.takeBack(part)
      this.#queue(part, lent)
      if (lent) this.#batchHeld.push(part)
    }
  }

  /** Queues bytes. Returns true where they were copied. `lent` means that they lie in pool memory. */
  #queue(part: Uint8Array, lent: boolean): boolean {
    if (part.length > copyBytesMax) {
      this.#seal()
      // Copy: the device may write to its own memory while the reader of the stream still has the chunk.
      this.#parts.push(this.#copies || lent || isZeroes(part) ? part : new Uint8Array(part))
      this.#batchBytes += part.length
      return false
    }
    this.room(part.length)
    this.#buffer?.set(part, this.end)
    this.advance(this.end + part.length)
    return true
  }

  /** Turns the bytes put so far into a part of the batch. */
  #seal(): void {
    if (this.#buffer === undefined || this.#start === this.end) return
    this.#parts.push(this.#buffer.subarray(this.#start, this.end))
    this.#start = this.end
  }

  /** Writes everything queued. */
  flush(): void {
    if (this.#batchBytes === 0) return
    this.#seal()
    const parts = this.#parts
    const last = parts.length - 1
    this.#parts = []
    this.#writtenBytes += this.#batchBytes
    this.#batchBytes = 0
    if (this.#copies) {
      if (this.#buffer !== undefined) this.#batchHeld.push(this.#buffer)
      this.#buffer = undefined
      this.#held.push(...this.#batchHeld)
    }
    this.#batchHeld = []
    if (last > 0) this.#stream.cork()
    for (const [index, part] of parts.entries())
      if (index === last) this.#stream.write(part, this.#written)
      else this.#stream.write(part)
    if (last > 0) this.#stream.uncork()
    const unwritten = this.#stream.writableLength
    if (unwritten === 0) this.#giveBack()
    else this.#congested ||= unwritten > outputBytesMax
  }

  /** Discards everything queued: the connection was dropped. */
  discard(): void {
    this.#parts = []
    this.#batchBytes = 0
    this.#buffer = undefined
    this.#batchHeld = []
    this.#held = []
  }

  #written = (): void => {
    if (this.#stream.writableLength !== 0 || this.#stream.destroyed) return
    this.#giveBack()
    this.#congested = false
    this.#onTaken()
  }

  #giveBack(): void {
    for (const view of this.#held) this.#pool.give(view)
    this.#held.length = 0
  }
}
