/**
 * The transmission phase of one connection: receives into memory, runs requests, sends replies, and applies
 * backpressure.
 */

import type { Duplex } from 'node:stream'
import type { Log } from '../api/log.js'
import type { BusyPoll } from '../net/busy-poll.js'
import type { Agreement } from './agreement.js'
import type { BufferPool } from './buffer-pool.js'
import { Commands, type Counts } from './commands.js'
import type { Gate } from './concurrency.js'
import { type HangUpWatch, hasHungUp } from './hang-up-watch.js'
import type { MemoryShare } from './memory-budget.js'
import { ReceiveBuffer, type ReceiveBuffers } from './receive-buffer.js'
import { ReplyQueue } from './reply-queue.js'
import { type RequestEvents, Requests } from './requests.js'
import type { Transport } from './transport.js'
import { bulkBytesMin, bulkHeadBytes } from './tuning.js'

/** Events that the phase reports to its connection. */
export interface TransmissionEvents extends Omit<RequestEvents, 'memoryFree'> {
  /** The system says that the client is gone. */
  gone(): void
  /** Something was received, answered or sent. */
  active(): void
  /** Code that must not throw did: a failed assertion, or a mistake of ours. */
  bug(error: unknown): void
}

/** The parts that the phase takes over from its connection. */
export interface TransmissionParts {
  readonly agreement: Agreement
  readonly transport: Transport
  readonly buffers: ReceiveBuffers
  readonly pool: BufferPool
  readonly gate: Gate
  readonly share: MemoryShare
  readonly busyPoll: BusyPoll
  readonly hangUps: HangUpWatch
  readonly waitingBytesMax: number
  /** Makes a stream take more at once, where possible. */
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
  /** The next bytes go into a payload, not into a receive buffer. */
  #inPlace = false
  /** Large payloads are arriving: all but the first bytes of each should be received into its place. */
  #bulk = false
  /** False while the client is held back: its bytes are kept and not handled. */
  #open = false
  /** False while nothing is received; undefined before the first batch. */
  #reading: boolean | undefined
  #waitsForGate = false
  /** This client's turn is over, and the next turn is scheduled. */
  #yields = false
  #receivedBytes = 0
  #widened = false
  #stepScheduled = false
  /** While requests are handled the connection is not idle, whatever the counts say. */
  #state: 'waiting' | 'handling' | 'ended' = 'waiting'
  /** Chunks that arrived while requests were handled. The current ones come first. */
  readonly #late: Uint8Array[] = []

  constructor(parts: TransmissionParts) {
    const { agreement, transport, buffers, pool, gate, share, busyPoll, waitingBytesMax, log, events } = parts
    this.#transport = transport
    this.#buffers = buffers
    this.#gate = gate
    this.#busyPoll = busyPoll
    this.#hangUps = parts.hangUps
    this.#widen = parts.widen
    this.#events = events
    this.#replies = new ReplyQueue(transport, pool, agreement.mode, () => this.#taken())
    const common = { agreement, replies: this.#replies, pool, share }
    this.#commands = new Commands({
      ...common,
      gate,
      waitingBytesMax,
      log,
      events: { settled: () => this.#settled(), bug: (error) => events.bug(error) },
    })
    this.#requests = new Requests({
      ...common,
      commands: this.#commands,
      buffers,
      events: {
        disconnected: () => events.disconnected(),
        lost: (why) => events.lost(why),
        // Go on later: another connection gave the memory back in the middle of its own work.
        memoryFree: () => process.nextTick(() => this.#memoryFree()),
      },
    })
  }

  /** Totals for the client so far. */
  get counts(): Counts {
    return this.#commands.counts
  }

  /** Requests that wait for their device. */
  get inFlight(): number {
    return this.#commands.inFlight
  }

  /** True in the middle of a header or a payload when everything received was handled. */
  get starved(): boolean {
    return this.#requests.starved
  }

  /** True where the client said goodbye behind requests that still wait. */
  get endsWithGoodbye(): boolean {
    return this.#requests.endsWithGoodbye
  }

  /** True while the client has to act: take replies, or send the rest of a request. */
  get waitsForClient(): boolean {
    return this.#replies.pendingBytes > 0 || this.#requests.starved
  }

  /** Bytes that the client has sent and taken. */
  get movedBytes(): number {
    return this.#receivedBytes + this.#replies.takenBytes
  }

  /** True when everything received was answered and the socket has taken the replies. */
  get idle(): boolean {
    return (
      this.#state !== 'handling' &&
      this.#commands.inFlight === 0 &&
      this.#requests.idle &&
      this.#replies.pendingBytes === 0
    )
  }

  get #ended(): boolean {
    return this.#state === 'ended'
  }

  /** Starts, with the bytes received after the last option. */
  start(received: Uint8Array): void {
    this.received(received.length, received)
  }

  /** From now on every request but DISC fails with ESHUTDOWN and reaches no layer. */
  refuseAll(): void {
    this.#requests.refuseAll()
    // Requests that waited for room go on and are refused. This happens later, because a callback of the
    // current request may have called.
    process.nextTick(() => this.#goOn())
  }

  /** Handles and answers nothing more. Discards queued replies. */
  end(): void {
    this.#state = 'ended'
    this.#hangUps.end(this.#transport.stream)
    this.#commands.mute()
    this.#requests.stop()
    this.#replies.discard()
  }

  /** The memory that the next bytes should be received into. */
  memory(): Uint8Array {
    const place = this.#requests.place()
    this.#inPlace = place !== undefined
    const { bytes } = this.#buffers.current
    return place ?? (this.#bulk ? bytes.subarray(0, bulkHeadBytes) : bytes)
  }

  /**
   * Reports `length` bytes, received into the result of `memory` or as a chunk of their own. Returns false
   * where reading should stop until `resume`.
   */
  received(length: number, chunk: Uint8Array | undefined): boolean {
    this.#receivedBytes += length
    // Within one process, a reply or a callback may bring in the next request before it returns.
    if (this.#state === 'handling' && chunk) this.#late.push(chunk)
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

  /** Handles requests, sends the replies, and schedules the next step. An exception here is a bug of ours. */
  #look(work: () => void): void {
    if (this.#state !== 'ended') this.#state = 'handling'
    if (!this.#yields) this.#requests.beginTurn()
    try {
      work()
      do {
        for (let chunk = this.#late.shift(); chunk; chunk = this.#late.shift())
          this.#receive(chunk.length, chunk)
        while (this.#requests.resumable && !this.#ended) this.#requests.resume()
      } while (this.#late.length > 0)
      if (this.#state === 'handling') this.#state = 'waiting'
      this.#afterBatch()
    } catch (error) {
      if (this.#state === 'handling') this.#state = 'waiting'
      this.#events.bug(error)
    }
  }

  #afterBatch(): void {
    if (this.#ended) return
    this.#write()
    const { open, listening, tired } = this.#requests
    this.#open = open
    this.#read(open || listening)
    if (tired && !this.#yields) {
      this.#yields = true
      setImmediate(this.#nextTurn)
    }
    // A shared gate may be full of other clients' requests. Only the gate can then tell when to go on.
    if (!open && this.#gate.full && !this.#waitsForGate) {
      this.#waitsForGate = true
      this.#gate.whenFree(() => {
        this.#waitsForGate = false
        this.#scheduleStep()
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
    // Do not read data for a client that is gone, one request after the other.
    if (hasHungUp(this.#transport.stream)) this.#events.gone()
    else this.#goOn()
  }

  /** There may be room again: handles the bytes received so far, then receives more. */
  #goOn(): void {
    if (this.#waitsForRoom) this.#look(() => this.#requests.resume())
  }

  get #waitsForRoom(): boolean {
    return !this.#open && !this.#yields && this.#state === 'waiting'
  }

  #write(): void {
    this.#replies.flush()
    if (this.#commands.inFlight === 0) this.#busyPoll.expect()
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
    if (this.#ended) this.#events.active()
    else this.#scheduleStep()
  }

  /** Schedules one step for all requests that settle until then. */
  #scheduleStep(): void {
    if (this.#stepScheduled) return
    this.#stepScheduled = true
    process.nextTick(this.#scheduledStep)
  }

  #scheduledStep = (): void => {
    // While requests are in flight, their replies may join this batch. While requests wait for room, other
    // clients come first.
    if (this.#commands.inFlight > 0 || !this.#open) setImmediate(this.#step)
    else this.#step()
  }

  /** Handles the requests for which there is room again, and sends the replies queued so far. */
  #step = (): void => {
    this.#stepScheduled = false
    if (this.#ended) return
    if (this.#waitsForRoom) this.#goOn()
    else {
      this.#write()
      this.#events.active()
    }
  }
}
