/** Outgoing replies of one connection: chooses the chunks of each reply, and queues them as output. */
import type { Data } from '../api/device.js'
import { isZeroes } from '../api/zeroes.js'
import { stringBytes } from '../protocol/bytes.js'
import { NBD_CMD_FLAG_DF } from '../protocol/constants.js'
import { holeBytesMin, stringBytesMax } from '../protocol/limits.js'
import {
  dataHeaderBytes,
  encodeRuns,
  putDataHeader,
  putDone,
  putError,
  putHole,
  putSimpleReply,
  putStatusHeader,
  type ReplyMode,
  replyHeaderBytesMax,
} from '../protocol/reply.js'
import type { Request } from '../protocol/request.js'
import type { BufferPool } from './buffer-pool.js'
import { Output } from './output.js'
import type { Transport } from './transport.js'

export class ReplyQueue {
  readonly #output: Output
  readonly #mode: ReplyMode
  readonly #dataHeaderBytes: number

  /** Calls `onTaken` when the socket has taken everything written, unless it took everything at once. */
  constructor(
    transport: Pick<Transport, 'stream' | 'copies'>,
    pool: BufferPool,
    mode: ReplyMode,
    onTaken: () => void,
  ) {
    this.#output = new Output(transport, pool, onTaken)
    this.#mode = mode
    this.#dataHeaderBytes = dataHeaderBytes(mode)
  }

  /** Bytes queued since the last flush. */
  get batchBytes(): number {
    return this.#output.batchBytes
  }

  /** True while the client takes its replies too slowly. The device should then get no more requests. */
  get congested(): boolean {
    return this.#output.congested
  }

  /** Bytes queued or written that the socket has not taken. */
  get pendingBytes(): number {
    return this.#output.pendingBytes
  }

  /** Bytes that the client has taken, as far as known. */
  get takenBytes(): number {
    return this.#output.takenBytes
  }

  /**
   * Reserves space for the data of a READ inside its reply. Data filled in there, and passed to `data` as the
   * same view, need not be copied. `length` is at most `copyBytesMax`. Returns undefined while another
   * reservation is open. The space is valid until the next call of `data`, `error` or `detach`.
   */
  reserve(length: number): Uint8Array | undefined {
    return this.#output.reserve(this.#dataHeaderBytes, length)
  }

  /**
   * Detaches reserved reply space that an async device still fills. Returns false where none was reserved.
   */
  detach(): boolean {
    return this.#output.detach() !== undefined
  }

  /** Queues success, without data. */
  done(request: Request): void {
    const output = this.#output
    output.room(replyHeaderBytesMax)
    output.advance(putDone(output.view, output.end, this.#mode, request))
  }

  /** Queues an error, with its message where the client can take one. */
  error(request: Request, error: number, message: string): void {
    const output = this.#output
    const text = stringBytes(message, stringBytesMax)
    output.release()
    output.room(replyHeaderBytesMax + text.length)
    output.advance(putError(output.view, output.end, this.#mode, request, error, text))
  }

  /** Queues all data of a READ. Returns true where pool memory is held until the socket has taken it. */
  data(request: Request, data: Data): boolean {
    const output = this.#output
    const held = output.heldCount
    output.detachFor(data)
    if (this.#mode === 'simple') {
      output.room(this.#dataHeaderBytes)
      output.advance(putSimpleReply(output.view, output.end, request, 0))
      this.#put(data)
    } else if (data instanceof Uint8Array) this.#content(request, request.offset, data.length, data, true)
    else if (request.flags & NBD_CMD_FLAG_DF)
      this.#dataChunk(request, request.offset, request.length, data, true)
    else this.#sparse(request, data.some(isEmpty) ? data.filter((part) => !isEmpty(part)) : data)
    return output.heldCount > held
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
    const output = this.#output
    if (!isHole(data instanceof Uint8Array ? data : data[0])) {
      this.#dataChunk(request, offset, length, data, last)
      return
    }
    output.room(replyHeaderBytesMax)
    output.advance(putHole(output.view, output.end, this.#mode, request, offset, length, last))
  }

  #dataChunk(request: Request, offset: number, length: number, data: Data, last: boolean): void {
    const output = this.#output
    output.room(this.#dataHeaderBytes)
    output.advance(putDataHeader(output.view, output.end, this.#mode, request, offset, length, last))
    this.#put(data)
  }

  #put(data: Data): void {
    if (data instanceof Uint8Array) this.#output.put(data)
    else this.#output.putAll(data)
  }

  /**
   * Queues the runs of one metadata context, lengths and flags alternating. The last context ends the reply.
   */
  status(request: Request, contextId: number, runs: readonly number[], last: boolean): void {
    const output = this.#output
    output.room(replyHeaderBytesMax)
    const count = runs.length / 2
    output.advance(putStatusHeader(output.view, output.end, this.#mode, request, contextId, count, last))
    output.put(encodeRuns(this.#mode, runs))
  }

  /** Writes everything queued. */
  flush(): void {
    this.#output.flush()
  }

  /** Discards everything queued: the connection was dropped. */
  discard(): void {
    this.#output.discard()
  }
}

/** The spec has no empty chunks. */
function isEmpty(part: Uint8Array): boolean {
  return part.length === 0
}

function isHole(part: Uint8Array | undefined): boolean {
  return part !== undefined && part.length >= holeBytesMin && isZeroes(part)
}
