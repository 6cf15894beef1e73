/**
 * The transmission phase of one connection: receives into memory, runs requests, sends replies, holds back,
 * goes on.
 */
import type { Duplex } from 'node:stream'
import type { Log } from '../api/log.js'
import type { BusyPoll } from '../lib/busy-poll.js'
import { bulkBytesMin, bulkHeadBytes } from '../protocol/limits.js'
import type { BufferPool } from './buffer-pool.js'
import { type Agreement, Commands, type Counts } from './commands.js'
import type { Gate } from './concurrency.js'
import { type HangUpWatch, hasHungUp } from './hang-up-watch.js'
import type { MemoryShare } from './memory-budget.js'
import { ReceiveBuffer, type ReceiveBuffers } from './receive-buffer.js'
import { ReplyQueue } from './reply-queue.js'
import { type RequestEvents, Requests } from './requests.js'
import type { Transport } from './transport.js'

/** What the phase tells its connection. */
export interface TransmissionEvents extends Omit<RequestEvents, 'memoryFree'> {
  /** The client is gone, as the system says. */
  gone(): void
  /** Something was received, answered or sent. */
  active(): void
  /** Something threw that never should: an assertion of ours, or a mistake. */
  bug(error: unknown): void
}

/** What the phase takes over from its connection. */
export interface TransmissionParts {
  readonly agreement: Agreement
  readonly transport: Transport
  readonly buffers: ReceiveBuffers
  readonly pool: BufferPool
  readonly gate: Gate
  readonly share: MemoryShare
  readonly busyPoll: BusyPoll
  readonly hangUps: HangUpWatch
  /** Makes a stream take more at once, where that can be. */
  widen(stream: Duplex): void
  readonly log: Log
  readonly events: TransmissionEvents
}

export class Transmission {
  readonly #transport: Transport
  readonly #buffers: ReceiveBuffers
  readonly #gate: Gate
  readonly #busyPoll: BusyPoll
  readonly #hangUps: HangUpWatch
  readonly #widen: TransmissionParts['widen']
  readonly #events: TransmissionEvents
  readonly #replies: ReplyQueue
  readonly #commands: Commands
  readonly #requests: Requests
  /** The next bytes come into a payload, not into a receive buffer. */
  #inPlace = false
  /** Large payloads are coming: each is to be received into its place, all but its first bytes. */
  #bulk = false
  /** False while the client is held back: what comes is kept, and not looked at. */
  #open = false
  /** False while nothing is received; undefined before the first look. */
  #reading: boolean | undefined
  #waitsForGate = false
  /** The turn of this client is over, and the next one is to come. */
  #yields = false
  #receivedBytes = 0
  #widened = false
  #flushScheduled = false
  #ended = false
  /** Chunks that came while requests were looked at: what is in hand comes first. */
  readonly #late: Uint8Array[] = []
  /** While requests are looked at, nothing is at rest, whatever the counts say. */
  #looking = false

  constructor(parts: TransmissionParts) {
    const { agreement, transport, buffers, pool, gate, share, busyPoll, log, events } = parts
    this.#transport = transport
    this.#buffers = buffers
    this.#gate = gate
    this.#busyPoll = busyPoll
    this.#hangUps = parts.hangUps
    this.#widen = parts.widen
    this.#events = events
    this.#replies = new ReplyQueue(transport, pool, agreement.mode, () => this.#taken())
    this.#commands = new Commands(agreement, this.#replies, pool, gate, share, log, {
      settled: () => this.#settled(),
      bug: (error) => events.bug(error),
    })
    this.#requests = new Requests(agreement, this.#commands, this.#replies, buffers, pool, share, {
      disconnected: () => events.disconnected(),
      lost: (why) => events.lost(why),
      // Not at once: another connection, in the midst of something, has given the memory back.
      memoryFree: () => process.nextTick(() => this.#memoryFree()),
    })
  }

  /** What was done for the client so far. */
  get counts(): Counts {
    return this.#commands.counts
  }

  /** Requests that wait for their device. */
  get inFlight(): number {
    return this.#commands.inFlight
  }

  /** True in the middle of a header or a payload, with all that was received looked at. */
  get starved(): boolean {
    return this.#requests.starved
  }

  /** True while it is the client's turn: to take answers, or to send the rest of a request. */
  get waitsForClient(): boolean {
    return this.#replies.pendingBytes > 0 || this.#requests.starved
  }

  /** Bytes that the client has sent and taken. */
  get movedBytes(): number {
    return this.#receivedBytes + this.#replies.takenBytes
  }

  /** True when everything received was answered, and the socket has taken the answers. */
  get idle(): boolean {
    return (
      !this.#looking &&
      this.#commands.inFlight === 0 &&
      this.#requests.idle &&
      this.#replies.pendingBytes === 0
    )
  }

  /** Begins, with what was received behind the last option. */
  start(received: Uint8Array): void {
    this.received(received.length, received)
  }

  /** From now on every request but DISC fails with ESHUTDOWN, and reaches no layer. */
  refuseAll(): void {
    this.#requests.refuseAll()
    // What waited for room waits no more. Not at once: it may be a callback of a request in hand that asks
    // for it.
    process.nextTick(() => this.#goOn())
  }

  /** Nothing more is looked at or answered. What was queued is thrown away. */
  end(): void {
    this.#ended = true
    this.#hangUps.end(this.#transport.stream)
    this.#commands.mute()
    this.#requests.stop()
    this.#replies.discard()
  }

  /** The memory that the next bytes should come into. */
  memory(): Uint8Array {
    const place = this.#requests.place()
    this.#inPlace = place !== undefined
    const { bytes } = this.#buffers.current
    return place ?? (this.#bulk ? bytes.subarray(0, bulkHeadBytes) : bytes)
  }

  /**
   * `length` bytes came, into what `memory` gave or as a chunk of their own. False: no more until it says so.
   */
  received(length: number, chunk: Uint8Array | undefined): boolean {
    this.#receivedBytes += length
    // Within one process an answer, or a callback, may bring in the next request before it returns.
    if (this.#looking && chunk) this.#late.push(chunk)
    else this.#look(() => this.#receive(length, chunk))
    return this.#reading ?? false
  }

  #receive(length: number, chunk: Uint8Array | undefined): void {
    if (chunk !== undefined) this.#requests.receive(new ReceiveBuffer(chunk), length)
    else if (this.#inPlace) this.#requests.receivedInPlace(length)
    else {
      this.#requests.receive(this.#buffers.current, length)
      this.#buffers.next(length)
      this.#bulk = (this.#requests.place()?.length ?? 0) >= bulkBytesMin
    }
  }

  /** Looks at requests, sends the answers, sees to what comes next. What throws here is a mistake of ours. */
  #look(work: () => void): void {
    this.#looking = true
    if (!this.#yields) this.#requests.beginTurn()
    try {
      work()
      do {
        for (let chunk = this.#late.shift(); chunk; chunk = this.#late.shift())
          this.#receive(chunk.length, chunk)
        while (this.#requests.resumable && !this.#ended) this.#requests.resume()
      } while (this.#late.length > 0)
      this.#looking = false
      this.#afterBatch()
    } catch (error) {
      this.#looking = false
      this.#events.bug(error)
    }
  }

  #afterBatch(): void {
    if (this.#ended) return
    this.#write()
    if (this.#commands.inFlight === 0) this.#busyPoll.expect()
    const { open, listening, tired } = this.#requests
    this.#open = open
    this.#read(open || listening)
    if (tired && !this.#yields) {
      this.#yields = true
      setImmediate(this.#nextTurn)
    }
    // A gate that is shared may be full of others' requests: then it is the gate that tells when to go on.
    if (!open && this.#gate.full && !this.#waitsForGate) {
      this.#waitsForGate = true
      this.#gate.whenFree(() => {
        this.#waitsForGate = false
        this.#goOn()
      })
    }
    this.#events.active()
  }

  #read(reading: boolean): void {
    if (reading === this.#reading) return
    this.#reading = reading
    const { stream } = this.#transport
    if (reading) {
      this.#hangUps.end(stream)
      this.#transport.resume()
    } else this.#hangUps.begin(stream, () => this.#events.gone())
  }

  #nextTurn = (): void => {
    this.#yields = false
    this.#goOn()
  }

  #memoryFree(): void {
    if (this.#ended) return
    // What a client that is gone has asked for would be read for nobody, one request after the other.
    if (hasHungUp(this.#transport.stream)) this.#events.gone()
    else this.#goOn()
  }

  /** There may be room again: goes on with what was received, then with receiving. */
  #goOn(): void {
    if (!this.#open && !this.#yields && !this.#ended && !this.#looking)
      this.#look(() => this.#requests.resume())
  }

  #write(): void {
    this.#replies.flush()
    if (this.#replies.pendingBytes === 0) this.#commands.taken()
    else if (!this.#widened) {
      this.#widened = true
      this.#widen(this.#transport.stream)
    }
  }

  /** The socket has taken everything. */
  #taken(): void {
    if (this.#ended) return
    this.#commands.taken()
    this.#goOn()
    this.#events.active()
  }

  /** A request that waited was answered. */
  #settled(): void {
    if (this.#ended) {
      this.#events.active()
      return
    }
    this.#goOn()
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    // While others are in flight, their answers may join this batch.
    if (this.#commands.inFlight > 0) setImmediate(this.#flush)
    else process.nextTick(this.#flush)
  }

  #flush = (): void => {
    this.#flushScheduled = false
    if (this.#ended) return
    this.#write()
    this.#events.active()
  }
}
