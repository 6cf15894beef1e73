/**
 * Outgoing replies of one connection. Headers and small data are copied into one buffer, large data is sent
 * without a copy, and a batch is written at once. Memory lent for data comes back when the socket has taken
 * it.
 */
import type { Duplex } from 'node:stream'
import type { Data } from '../api/device.js'
import { isZeroes } from '../api/zeroes.js'
import { takenBytes } from '../net/onread-socket.js'
import { setUint64, stringBytes, viewOf } from '../protocol/bytes.js'
import {
  NBD_CMD_FLAG_DF,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_REPLY_TYPE_OFFSET_HOLE,
} from '../protocol/constants.js'
import {
  copyBytesMax,
  holeBytesMin,
  outputBytes,
  outputBytesMax,
  stringBytesMax,
} from '../protocol/limits.js'
import {
  chunkBytes,
  extendedChunkBytes,
  putChunk,
  putSimpleReply,
  type Request,
  simpleReplyBytes,
} from '../protocol/transmission.js'
import type { ReplyMode } from './agreement.js'
import type { BufferPool } from './buffer-pool.js'
import type { Transport } from './transport.js'

/** The longest header, with the fields that precede data or a message. */
const headerBytesMax = extendedChunkBytes + 16

const noView = new DataView(new ArrayBuffer(0))

export class ReplyQueue {
  readonly #stream: Duplex
  readonly #pool: BufferPool
  readonly #mode: ReplyMode
  readonly #copies: boolean
  readonly #onTaken: () => void
  /** The buffer being filled. Its bytes from `#start` to `#end` are not yet in `#parts`. */
  #output: Uint8Array | undefined
  #view: DataView = noView
  #start = 0
  #end = 0
  /** Space for the data of the next reply, which a device may fill. */
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
    mode: ReplyMode,
    onTaken: () => void,
  ) {
    this.#stream = stream
    this.#copies = copies
    this.#pool = pool
    this.#mode = mode
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

  /**
   * Reserves space for the data of a READ inside its reply. Data filled in there, and passed to `data` as the
   * same view, need not be copied. `length` is at most `copyBytesMax`. Returns undefined while another
   * reservation is open. The space is valid until the next call of `data`, `error` or `detach`.
   */
  reserve(length: number): Uint8Array | undefined {
    if (this.#reserved !== undefined) return undefined
    this.#room(headerBytesMax + length)
    const at = this.#end + (this.#mode === 'simple' ? simpleReplyBytes : this.#chunkBytes + 8)
    this.#reserved = this.#output?.subarray(at, at + length)
    return this.#reserved
  }

  /**
   * Detaches reserved reply space that an async device still fills. Returns false where none was reserved.
   */
  detach(): boolean {
    if (this.#reserved === undefined) return false
    this.#seal()
    this.#output = undefined
    this.#reserved = undefined
    return true
  }

  get #chunkBytes(): number {
    return this.#mode === 'extended' ? extendedChunkBytes : chunkBytes
  }

  /** Queues success, without data. */
  done(request: Request): void {
    this.#room(extendedChunkBytes)
    if (this.#mode !== 'extended') this.#simple(request, 0)
    else this.#chunk(request, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_NONE, 0)
  }

  /** Queues an error, with its message where the client can take one. */
  error(request: Request, error: number, message: string): void {
    this.#reserved = undefined
    if (this.#mode === 'simple') {
      this.#room(simpleReplyBytes)
      this.#simple(request, error)
      return
    }
    const text = stringBytes(message, stringBytesMax)
    this.#room(headerBytesMax + text.length)
    const at = this.#chunk(request, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_ERROR, 6 + text.length)
    this.#view.setUint32(at, error)
    this.#view.setUint16(at + 4, text.length)
    this.#output?.set(text, at + 6)
    this.#advance(at + 6 + text.length)
  }

  /** Queues all data of a READ. Returns true where pool memory is held until the socket has taken it. */
  data(request: Request, data: Data): boolean {
    const held = this.#batchHeld.length
    // The data may be built on the reserved space that the reply would overwrite.
    const place = data === this.#reserved ? undefined : this.#output
    if (place !== undefined && this.detach()) this.#batchHeld.push(place)
    this.#data(request, data)
    return this.#batchHeld.length > held
  }

  #data(request: Request, data: Data): void {
    if (this.#mode === 'simple') {
      this.#room(simpleReplyBytes)
      this.#simple(request, 0)
      this.#payload(data)
    } else if (data instanceof Uint8Array) this.#content(request, request.offset, data.length, data, true)
    else if (request.flags & NBD_CMD_FLAG_DF)
      this.#dataChunk(request, request.offset, request.length, data, true)
    else this.#sparse(request, data.some(isEmpty) ? data.filter((part) => !isEmpty(part)) : data)
  }

  /** Queues parts of data and of zeroes, each run as a chunk of its own. */
  #sparse(request: Request, parts: readonly Uint8Array[]): void {
    let offset = request.offset
    for (let index = 0; index < parts.length; ) {
      const first = index
      let length = 0
      const hole = isHole(parts[index])
      for (let part = parts[index]; part !== undefined && isHole(part) === hole; part = parts[++index])
        length += part.length
      this.#content(request, offset, length, parts.slice(first, index), index === parts.length)
      offset += length
    }
  }

  #content(request: Request, offset: number, length: number, data: Data, last: boolean): void {
    const first = data instanceof Uint8Array ? data : data[0]
    if (isHole(first)) this.#holeChunk(request, offset, length, last)
    else this.#dataChunk(request, offset, length, data, last)
  }

  #dataChunk(request: Request, offset: number, length: number, data: Data, last: boolean): void {
    this.#room(headerBytesMax)
    const at = this.#chunk(request, last ? NBD_REPLY_FLAG_DONE : 0, NBD_REPLY_TYPE_OFFSET_DATA, 8 + length)
    setUint64(this.#view, at, offset)
    this.#advance(at + 8)
    this.#payload(data)
  }

  #holeChunk(request: Request, offset: number, length: number, last: boolean): void {
    this.#room(headerBytesMax)
    const at = this.#chunk(request, last ? NBD_REPLY_FLAG_DONE : 0, NBD_REPLY_TYPE_OFFSET_HOLE, 12)
    setUint64(this.#view, at, offset)
    this.#view.setUint32(at + 8, length)
    this.#advance(at + 12)
  }

  /**
   * Queues the runs of one metadata context, lengths and flags alternating. The last context ends the reply.
   */
  status(request: Request, contextId: number, runs: readonly number[], last: boolean): void {
    const extended = this.#mode === 'extended'
    const count = runs.length / 2
    const type = extended ? NBD_REPLY_TYPE_BLOCK_STATUS_EXT : NBD_REPLY_TYPE_BLOCK_STATUS
    const length = extended ? 8 + 16 * count : 4 + 8 * count
    this.#room(headerBytesMax)
    const at = this.#chunk(request, last ? NBD_REPLY_FLAG_DONE : 0, type, length)
    this.#view.setUint32(at, contextId)
    if (extended) this.#view.setUint32(at + 4, count)
    this.#advance(at + (extended ? 8 : 4))
    const bytes = new Uint8Array(runs.length * (extended ? 8 : 4))
    const view = viewOf(bytes)
    // Flags have 32 bits, whatever sign JavaScript gives them.
    for (const [index, value] of runs.entries())
      if (extended) setUint64(view, 8 * index, index % 2 === 0 ? value : value >>> 0)
      else view.setUint32(4 * index, value)
    this.#payload(bytes)
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
      if (this.#output !== undefined) this.#batchHeld.push(this.#output)
      this.#output = undefined
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
    this.#output = undefined
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

  #simple(request: Request, error: number): void {
    putSimpleReply(this.#view, this.#end, request, error)
    this.#advance(this.#end + simpleReplyBytes)
  }

  #chunk(request: Request, flags: number, type: number, length: number): number {
    const at = putChunk(this.#view, this.#end, this.#mode === 'extended', request, flags, type, length)
    this.#advance(at)
    return at
  }

  #advance(to: number): void {
    this.#batchBytes += to - this.#end
    this.#end = to
  }

  #payload(data: Data): void {
    if (data instanceof Uint8Array) {
      const lent = this.#pool.takeBack(data)
      const copied = this.#part(data, lent)
      if (lent && copied) this.#pool.give(data)
      else if (lent) this.#batchHeld.push(data)
    } else
      for (const part of data) {
        // Several parts may share the same memory, which is kept until all of them are sent.
        const lent = this.#pool.takeBack(part)
        this.#part(part, lent)
        if (lent) this.#batchHeld.push(part)
      }
  }

  /** Queues bytes. Returns true where they were copied. `lent` means that they lie in pool memory. */
  #part(part: Uint8Array, lent: boolean): boolean {
    if (part === this.#reserved) {
      this.#reserved = undefined
      this.#advance(this.#end + part.length)
      return true
    }
    if (part.length > copyBytesMax) {
      this.#seal()
      // Copy: the device may write to its own memory while the reader of the stream still has the chunk.
      this.#parts.push(this.#copies || lent || isZeroes(part) ? part : new Uint8Array(part))
      this.#batchBytes += part.length
      return false
    }
    this.#room(part.length)
    this.#output?.set(part, this.#end)
    this.#advance(this.#end + part.length)
    return true
  }

  /** Turns the bytes put so far into a part of the batch. */
  #seal(): void {
    if (this.#output === undefined || this.#start === this.#end) return
    this.#parts.push(this.#output.subarray(this.#start, this.#end))
    this.#start = this.#end
  }

  /** Ensures that the output buffer has room for `length` more bytes. */
  #room(length: number): void {
    if (this.#output !== undefined && this.#end + length <= this.#output.length) return
    this.#seal()
    if (this.#output !== undefined) this.#batchHeld.push(this.#output)
    this.#output = this.#pool.take(outputBytes)
    this.#view = viewOf(this.#output)
    this.#start = 0
    this.#end = 0
  }
}

/** The spec has no empty chunks. */
function isEmpty(part: Uint8Array): boolean {
  return part.length === 0
}

function isHole(part: Uint8Array | undefined): boolean {
  return part !== undefined && part.length >= holeBytesMin && isZeroes(part)
}
