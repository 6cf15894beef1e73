/**
 * A client with the lowest possible cost, so that the measurement shows the server: requests are built in
 * advance, all that can be sent goes in one write, replies are parsed where they were received, and payloads
 * are skipped.
 */
import { viewOf } from '../src/protocol/bytes.js'
import {
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_ERROR,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
} from '../src/protocol/constants.js'
import { chunkBytes, simpleReplyBytes } from '../src/protocol/reply.js'
import { encodeRequest } from '../src/testing/raw-client.js'
import type { Tally } from './load-tally.js'
import { type Target, Wire } from './load-wire.js'

const types = { read: NBD_CMD_READ, write: NBD_CMD_WRITE, flush: NBD_CMD_FLUSH }
export type RequestMode = keyof typeof types

export interface RequestSettings {
  readonly mode: RequestMode
  /** The size of each request, in bytes. */
  readonly blockBytes: number
  /** The distance from one offset to the next: a block, or more to leave holes. */
  readonly stepBytes: number
  /** Requests in flight on each connection. */
  readonly depth: number
  /** Sequential offsets instead of random ones. */
  readonly sequential: boolean
  readonly structured: boolean
  /** The number of requests of each connection, after which it ends. */
  readonly count: number
}

/**
 * Payloads from this size on are not in the batch. All requests send the same one, which stays in the cache.
 */
const sharedPayloadBytesMin = 32 * 1024

/** Shared by all connections: one buffer stays in the cache. A larger one would gain nothing. */
const received = Buffer.allocUnsafe(256 * 1024)

export class LoadClient {
  readonly #settings: RequestSettings
  readonly #tally: Tally
  readonly #wire: Wire
  readonly #view: DataView
  /** Room for `depth` requests in a row. Only the cookie and the offset of each change. */
  readonly #batch: Buffer
  readonly #batchView: DataView
  readonly #strideBytes: number
  /** Where all requests share a payload: the single requests of the batch, and that payload. */
  readonly #shared: { readonly requests: readonly Buffer[]; readonly payload: Buffer } | undefined
  /** The length of the data after a simple reply. */
  readonly #payloadBytes: number
  /** Slots without a request. A cookie is the number of a slot. */
  readonly #free: Uint32Array
  #freeCount: number
  /** 1 while the request of the slot is in flight. */
  readonly #busy: Uint8Array
  #blocks = 0
  #next = 0
  #random: number
  #unsent: number
  #isWriting = false
  /** The reply being received: its slot, the bytes to come, and whether this is its last chunk. */
  #slot = 0
  #left = 0
  #isLast = true
  /** The start of a header that arrives in pieces. */
  readonly #header = Buffer.alloc(chunkBytes)
  readonly #headerView = viewOf(this.#header)
  #headerBytes = 0

  /** `seed` makes the offsets of each connection different. */
  constructor(target: Target, settings: RequestSettings, tally: Tally, seed: number) {
    const { mode, blockBytes, depth } = settings
    this.#settings = settings
    this.#tally = tally
    this.#wire = new Wire(target, received)
    this.#view = viewOf(received)
    const length = mode === 'flush' ? 0 : blockBytes
    const payload = mode === 'write' ? Buffer.alloc(blockBytes, 'written') : Buffer.alloc(0)
    const isShared = payload.length >= sharedPayloadBytesMin
    const request = encodeRequest({ type: types[mode], length, ...(isShared ? {} : { payload }) })
    this.#strideBytes = request.length
    this.#batch = Buffer.concat(Array.from({ length: depth }, () => request))
    const slices = Array.from({ length: depth }, (_, at) =>
      this.#batch.subarray(at * request.length, (at + 1) * request.length),
    )
    this.#shared = isShared ? { requests: slices, payload } : undefined
    this.#batchView = viewOf(this.#batch)
    this.#payloadBytes = mode === 'read' ? blockBytes : 0
    this.#free = Uint32Array.from({ length: depth }, (_, index) => depth - 1 - index)
    this.#freeCount = depth
    this.#busy = new Uint8Array(depth)
    this.#random = (seed + 1) * 0x9e3779b1
    this.#unsent = settings.count
  }

  /** Goes from connecting to the transmission phase. */
  async open(): Promise<void> {
    const { blockBytes, stepBytes, structured } = this.#settings
    await this.#wire.open({ structured, receive: (length) => this.#receive(length) })
    this.#blocks = Math.floor((this.#wire.size - blockBytes) / stepBytes) + 1
    if (this.#blocks < 1)
      throw new Error(`the disk has ${this.#wire.size} bytes: fewer than a request, ${blockBytes}`)
  }

  /** Resolves when the time is over and everything is answered. Rejects on any wrong reply. */
  run(): Promise<void> {
    this.#goOn()
    return this.#wire.closed
  }

  /** Sends as much as possible, or ends when everything was sent and answered. */
  #goOn(): void {
    if (this.#tally.isOver) this.#unsent = 0
    if (this.#unsent > 0) this.#send()
    else if (this.#freeCount === this.#busy.length) this.#wire.disconnect()
  }

  #send(): void {
    // The system still reads from the batch.
    if (this.#isWriting || this.#freeCount === 0) return
    const { stepBytes, mode } = this.#settings
    const view = this.#batchView
    let end = 0
    for (; this.#freeCount > 0 && this.#unsent > 0; this.#unsent--) {
      const slot = this.#free[--this.#freeCount] ?? 0
      this.#busy[slot] = 1
      const offset = mode === 'flush' ? 0 : this.#nextBlock() * stepBytes
      view.setUint32(end + 12, slot)
      view.setUint32(end + 16, Math.floor(offset / 2 ** 32))
      view.setUint32(end + 20, offset >>> 0)
      end += this.#strideBytes
    }
    const { socket } = this.#wire
    this.#isWriting = true
    if (this.#shared) this.#writeShared(this.#shared, end / this.#strideBytes)
    else socket.write(end === this.#batch.length ? this.#batch : this.#batch.subarray(0, end), this.#written)
    if (socket.writableLength === 0) this.#isWriting = false
  }

  #writeShared({ requests, payload }: { requests: readonly Buffer[]; payload: Buffer }, count: number): void {
    const { socket } = this.#wire
    socket.cork()
    for (let at = 0; at < count; at++) {
      socket.write(requests[at] ?? payload)
      socket.write(payload, at === count - 1 ? this.#written : undefined)
    }
    socket.uncork()
  }

  readonly #written = (): void => {
    if (!this.#isWriting || this.#wire.socket.writableLength > 0) return
    this.#isWriting = false
    if (this.#unsent > 0) this.#goOn()
  }

  #nextBlock(): number {
    if (this.#settings.sequential) {
      const block = this.#next
      this.#next = block + 1 === this.#blocks ? 0 : block + 1
      return block
    }
    // xorshift32: random enough, and costs nothing.
    this.#random ^= this.#random << 13
    this.#random ^= this.#random >>> 17
    this.#random ^= this.#random << 5
    return (this.#random >>> 0) % this.#blocks
  }

  #receive(length: number): void {
    for (let at = 0; at < length; ) {
      if (this.#left === 0) at = this.#takeHeader(at, length)
      const step = Math.min(this.#left, length - at)
      at += step
      this.#left -= step
      if (this.#left === 0 && this.#headerBytes === 0 && this.#isLast) this.#answered()
    }
    this.#tally.look()
    this.#goOn()
  }

  #answered(): void {
    this.#busy[this.#slot] = 0
    this.#free[this.#freeCount++] = this.#slot
    this.#tally.done++
  }

  /** Decodes a header, or keeps the received part of it. Returns the position to go on from. */
  #takeHeader(at: number, length: number): number {
    if (this.#headerBytes === 0 && length - at >= chunkBytes) return at + this.#decode(this.#view, at)
    const whole = this.#headerBytes >= simpleReplyBytes ? chunkBytes : simpleReplyBytes
    const end = Math.min(at + whole - this.#headerBytes, length)
    received.copy(this.#header, this.#headerBytes, at, end)
    this.#headerBytes += end - at
    if (this.#headerBytes < whole) return end
    // The header of a chunk has four more bytes, which may not have arrived.
    if (whole < chunkBytes && this.#header.readUInt32BE(0) === NBD_STRUCTURED_REPLY_MAGIC) return end
    this.#headerBytes = 0
    this.#decode(this.#headerView, 0)
    return end
  }

  /** Returns the length of the header. */
  #decode(view: DataView, at: number): number {
    const magic = view.getUint32(at)
    const isSimple = magic === NBD_SIMPLE_REPLY_MAGIC
    if (!isSimple && (magic !== NBD_STRUCTURED_REPLY_MAGIC || !this.#settings.structured))
      throw new Error(`a reply begins with 0x${magic.toString(16)}`)
    const slot = view.getUint32(at + 12)
    if (view.getUint32(at + 8) !== 0 || this.#busy[slot] !== 1)
      throw new Error(
        `a reply to a request that is not in flight: 0x${view.getBigUint64(at + 8).toString(16)}`,
      )
    this.#slot = slot
    if (isSimple) {
      const error = view.getUint32(at + 4)
      if (error !== 0) throw new Error(`a ${this.#settings.mode} failed with error ${error}`)
      this.#left = this.#payloadBytes
      this.#isLast = true
      return simpleReplyBytes
    }
    const type = view.getUint16(at + 6)
    if (type >= NBD_REPLY_TYPE_ERROR)
      throw new Error(`a ${this.#settings.mode} failed: a chunk of type ${type}`)
    this.#left = view.getUint32(at + 16)
    this.#isLast = (view.getUint16(at + 4) & NBD_REPLY_FLAG_DONE) !== 0
    return chunkBytes
  }
}
