/**
 * The decode loop of the transmission phase: handles every received request, one after the other,
 * synchronously. The loop stops at the limits and goes on when there is room. Received bytes are kept in
 * between.
 */

import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_DISC,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_EINVAL,
  NBD_ESHUTDOWN,
} from '../protocol/constants.js'
import { payloadDrainBytesMax, statusPayloadBytesMax } from '../protocol/limits.js'
import {
  decodeRequest,
  emptyRequest,
  endsWithDisconnect,
  extendedRequestBytes,
  type Request,
  requestBytes,
} from '../protocol/request.js'
import type { Agreement } from './agreement.js'
import type { BufferPool } from './buffer-pool.js'
import { type Commands, readBudget } from './commands.js'
import type { MemoryShare } from './memory-budget.js'
import { Payload } from './payload.js'
import { ReceiveBuffer, type ReceiveBuffers } from './receive-buffer.js'
import type { ReplyQueue } from './reply-queue.js'
import {
  batchBytesFirst,
  batchBytesMax,
  receiveBytes,
  receiveIntoPlaceBytes,
  requestsPerLook,
  turnMs,
} from './tuning.js'
import { commandName, payloadBytes, type Refusal, refusal } from './validate.js'

/** Events that the loop reports to its connection. */
export interface RequestEvents {
  /** The client sent NBD_CMD_DISC. */
  disconnected(): void
  /** The request stream is out of step: nothing more can be understood. */
  lost(why: string): void
  /** The waiting request may have its memory. Never called within `resume`. */
  memoryFree(): void
}

/** Received bytes that wait for room. */
interface Tail {
  readonly buffer: ReceiveBuffer
  readonly at: number
  readonly end: number
}

/** The most pieces of received bytes that may wait: two receive buffers. */
const tailsMax = 2

const noBytes = new Uint8Array(0)
const shutdown: Refusal = { error: NBD_ESHUTDOWN, message: 'the server is shutting down this connection' }

/** What the requests of one client go through. */
export interface RequestParts {
  readonly agreement: Agreement
  readonly commands: Commands
  readonly replies: ReplyQueue
  readonly buffers: ReceiveBuffers
  readonly pool: BufferPool
  readonly share: MemoryShare
  readonly events: RequestEvents
}

/**
 * What the parser is at: a header, the payload of a request, the payload of a refused request, a request that
 * waits for memory, or the end.
 */
type State = 'header' | 'payload' | 'discard' | 'parked' | 'stopped'

export class Requests {
  readonly #agreement: Agreement
  readonly #extended: boolean
  readonly #commands: Commands
  readonly #replies: ReplyQueue
  readonly #buffers: ReceiveBuffers
  readonly #share: MemoryShare
  readonly #events: RequestEvents
  readonly #wake = (): void => this.#events.memoryFree()
  /** The current request. All requests reuse this object, so that a request allocates nothing. */
  readonly #request: Request = emptyRequest()
  /** Collects a header that arrives in pieces. */
  readonly #head = new ReceiveBuffer(new Uint8Array(extendedRequestBytes))
  #headLength = 0
  readonly #payload: Payload
  /** Bytes of a refused request's payload, still to be discarded. */
  #skip = 0
  #refused: Refusal = shutdown
  /** In the order received. More may arrive after reading was told to stop. */
  #tails: Tail[] = []
  #refuseAll = false
  /** This client's turn is over: other clients come first. */
  #tired = false
  #turnEndsAt = 0
  #untilLook = 0
  #state: State = 'header'

  constructor({ agreement, commands, replies, buffers, pool, share, events }: RequestParts) {
    this.#agreement = agreement
    this.#extended = agreement.mode === 'extended'
    this.#commands = commands
    this.#replies = replies
    this.#buffers = buffers
    this.#share = share
    this.#events = events
    this.#payload = new Payload(pool, share, this.#wake)
  }

  /**
   * True in the middle of a header or a payload when everything received was handled. Where the stream ends
   * here, the client died.
   */
  get starved(): boolean {
    const inMidst = this.#headLength > 0 || this.#state === 'discard' || this.#payload.missingBytes > 0
    return this.#tails.length === 0 && inMidst
  }

  /** True when nothing received waits to be handled. Discarding a payload does not count as pending work. */
  get idle(): boolean {
    return this.#tails.length === 0 && this.#state !== 'payload' && this.#state !== 'parked'
  }

  /** From now on every request but DISC fails with ESHUTDOWN and reaches no layer. */
  refuseAll(): void {
    this.#refuseAll = true
  }

  /**
   * True where the last bytes received are NBD_CMD_DISC, although requests before it still wait. Then the
   * client has said goodbye, and did not vanish.
   */
  get endsWithGoodbye(): boolean {
    const waiting = this.#tails.map(({ buffer, at, end }) => buffer.bytes.subarray(at, end))
    return endsWithDisconnect(Buffer.concat(waiting), this.#extended)
  }

  /** Handles nothing more. */
  stop(): void {
    this.#state = 'stopped'
    this.#tails = []
    // The buffers stay with the socket, which may still receive into them.
    this.#share.cancel()
  }

  /** Begins a turn: requests run until the turn is over. */
  beginTurn(): void {
    this.#tired = false
    this.#untilLook = 0
    this.#turnEndsAt = Number.POSITIVE_INFINITY
  }

  /** True when the turn is over and requests wait for the next one. */
  get tired(): boolean {
    return this.#tired
  }

  /** Memory that the next bytes should be received into, where they belong to a large payload. */
  place(): Uint8Array | undefined {
    return this.#state === 'payload' ? this.#payload.place() : undefined
  }

  /** True when everything received was handled and more may be received. */
  get open(): boolean {
    return this.#tails.length === 0 && !this.#full
  }

  /**
   * True when more may be received although there is no room to run it. A client that is gone is noticed only
   * while its socket is read.
   */
  get listening(): boolean {
    return this.#tails.length < tailsMax
  }

  /** True when received bytes wait and there is room for them. */
  get resumable(): boolean {
    return this.#tails.length > 0 && !this.#full
  }

  /** Reports `length` bytes received into the memory from `place`. */
  receivedInPlace(length: number): void {
    this.#payload.receivedInPlace(length)
    this.resume()
  }

  /** Reports `end` bytes received into `buffer`. */
  receive(buffer: ReceiveBuffer, end: number): void {
    if (this.#tails.length > 0) this.#keep(buffer, 0, end)
    else this.#parse(buffer, 0, end)
  }

  /** Goes on after a wait: there may be room again. */
  resume(): void {
    const tails = this.#tails
    this.#tails = []
    if (tails.length === 0) this.#parse(this.#head, 0, 0)
    for (const { buffer, at, end } of tails) {
      if (this.#tails.length > 0) this.#keep(buffer, at, end)
      else this.#parse(buffer, at, end)
      this.#buffers.unpin(buffer)
    }
  }

  /** Keeps bytes for later, behind those that wait already. */
  #keep(buffer: ReceiveBuffer, at: number, end: number): void {
    buffer.pins++
    this.#tails.push({ buffer, at, end })
  }

  /** True when the next request has to wait. */
  get #full(): boolean {
    return this.#state === 'parked' || this.#payload.waits || this.#tired || this.#busy
  }

  get #busy(): boolean {
    // Refused requests wait for no device, but they do wait for the client to take its replies.
    return this.#replies.congested || (this.#commands.full && !this.#refuseAll)
  }

  #parse(buffer: ReceiveBuffer, from: number, end: number): void {
    const headerBytes = this.#extended ? extendedRequestBytes : requestBytes
    let at = from
    let batchBytes = batchBytesFirst
    while (this.#state !== 'stopped') {
      if (this.#state === 'payload') {
        if (this.#payload.waits && this.#refuseAll) {
          this.#abandonPayload()
          continue
        }
        if (this.#payload.waits && !this.#payload.goOn()) break
        at += this.#payload.fill(buffer.bytes, at, end)
        if (this.#payload.missingBytes > 0 || this.#full) break
        this.#runPayload()
      } else if (this.#state === 'discard') {
        const skipped = Math.min(this.#skip, end - at)
        this.#skip -= skipped
        at += skipped
        if (this.#skip > 0) break
        this.#state = 'header'
        this.#commands.refuse(this.#request, this.#refused)
      } else if (this.#state === 'parked') {
        if (this.#busy) break
        at = this.#begin(buffer, at, end)
        if (this.#state === 'parked') break
      } else if (at === end || this.#full) break
      else if (this.#headLength > 0 || end - at < headerBytes) {
        const taken = Math.min(headerBytes - this.#headLength, end - at)
        this.#head.bytes.set(buffer.bytes.subarray(at, at + taken), this.#headLength)
        this.#headLength += taken
        at += taken
        if (this.#headLength < headerBytes) break
        this.#headLength = 0
        at = this.#next(this.#head, 0, buffer, at, end)
      } else at = this.#next(buffer, at, buffer, at + headerBytes, end)
      if (--this.#untilLook < 0) this.#lookAtClock()
      if (this.#replies.batchBytes >= batchBytes) {
        this.#replies.flush()
        // The client is awake by now, so a few large writes are cheapest for the rest.
        batchBytes = Math.min(2 * batchBytes, batchBytesMax)
      }
    }
    if (at < end && this.#state !== 'stopped') this.#keep(buffer, at, end)
  }

  /** Ends the turn when its time is over. The clock of a turn starts at the first call. */
  #lookAtClock(): void {
    const { type, length } = this.#request
    const now = performance.now()
    if (this.#turnEndsAt === Number.POSITIVE_INFINITY) this.#turnEndsAt = now + turnMs
    else if (now >= this.#turnEndsAt) this.#tired = true
    const isFast = (type === NBD_CMD_READ || type === NBD_CMD_WRITE) && length <= receiveBytes
    this.#untilLook = isFast ? requestsPerLook : 0
  }

  /**
   * Decodes the request at `headerAt` of `head`. Its payload, if any, begins at `at`. Returns the position to
   * go on from.
   */
  #next(head: ReceiveBuffer, headerAt: number, buffer: ReceiveBuffer, at: number, end: number): number {
    const request = this.#request
    if (!decodeRequest(head.view, headerAt, this.#extended, request)) {
      this.#events.lost(
        `a request begins with 0x${head.view.getUint32(headerAt).toString(16)}, which is no magic`,
      )
      return end
    }
    if (request.type === NBD_CMD_DISC) {
      this.#state = 'stopped'
      this.#events.disconnected()
      return end
    }
    return this.#begin(buffer, at, end)
  }

  /**
   * Refuses the current request, starts it, or parks it. Its payload, if any, begins at `at`. Returns the
   * position to go on from.
   */
  #begin(buffer: ReceiveBuffer, at: number, end: number): number {
    const request = this.#request
    const payload = payloadBytes(request, this.#agreement.mode)
    this.#state = 'header'
    const refused = this.#refuse(request, payload)
    if (refused) {
      this.#share.cancel()
      if (payload > payloadDrainBytesMax) {
        this.#events.lost(`${commandName(request.type)} with a payload of ${payload} bytes`)
        return end
      }
      // Clients take no reply to a request that they are still sending.
      if (payload === 0) this.#commands.refuse(request, refused)
      else this.#discard(refused, payload)
      return at
    }
    const bytes = readBudget(request)
    if (bytes > 0 && !this.#share.reserve(bytes, this.#wake)) {
      this.#state = 'parked'
      return at
    }
    if (payload === 0) {
      this.#commands.run(request, noBytes)
      return at
    }
    const isHere = end - at >= payload
    if (!isHere || request.type === NBD_CMD_BLOCK_STATUS) {
      this.#expect(request, payload, payload - (end - at))
      return at
    }
    const waiting = this.#commands.run(request, buffer.bytes.subarray(at, at + payload))
    if (waiting) {
      buffer.pins++
      void waiting.then(() => this.#buffers.unpin(buffer))
    }
    return at + payload
  }

  #refuse(request: Request, payload: number): Refusal | undefined {
    if (this.#refuseAll) return shutdown
    // With a payload, the range of BLOCK_STATUS is in the payload.
    if (request.type !== NBD_CMD_BLOCK_STATUS || payload === 0) return refusal(request, this.#agreement)
    if (payload <= statusPayloadBytesMax) return undefined
    return {
      error: NBD_EINVAL,
      message: `block status: a payload of ${payload} bytes, at most ${statusPayloadBytesMax}`,
    }
  }

  /** Finds memory for a payload of which `missing` bytes are still to come. */
  #expect(request: Request, payload: number, missing: number): void {
    const isLarge = request.type === NBD_CMD_WRITE && missing >= receiveIntoPlaceBytes
    this.#state = 'payload'
    this.#payload.begin(payload, isLarge ? this.#commands.window(request) : undefined)
  }

  /** Discards the rest of a payload that no layer has seen. */
  #abandonPayload(): void {
    this.#discard(shutdown, this.#payload.abandon())
  }

  /** Passes over so many bytes, then refuses the request that they belong to. */
  #discard(refused: Refusal, bytes: number): void {
    this.#state = 'discard'
    this.#refused = refused
    this.#skip = bytes
  }

  #runPayload(): void {
    this.#state = 'header'
    const { bytes, release } = this.#payload.take()
    // Nothing will be written to the lent memory.
    if (this.#refuseAll) this.#commands.abandon()
    const waiting = this.#runWith(bytes)
    if (waiting) void waiting.then(release)
    else release()
  }

  #runWith(payload: Uint8Array): Promise<void> | undefined {
    // The payload had begun to arrive before it was refused. No layer has seen it.
    if (this.#refuseAll) this.#commands.refuse(this.#request, shutdown)
    else if (this.#request.type !== NBD_CMD_BLOCK_STATUS) return this.#commands.run(this.#request, payload)
    else this.#commands.runStatusPayload(this.#request, payload)
    return undefined
  }
}
