/**
 * The bytes of a handshake in both directions. The bytes a client sends ahead are bounded, and so are the
 * replies that it does not take.
 */
import type { BusyPoll } from '../net/busy-poll.js'
import { ByteQueue } from '../protocol/byte-queue.js'
import type { Transport } from './transport.js'
import { aheadBytesMax, untakenBytesMax, untakenTotalBytesMax } from './tuning.js'

/** Memory that Node keeps for a waiting reply beside its bytes. */
const replyCost = 512

/** Handshake replies that clients have not taken, for all connections of a server, in bytes. */
export interface Untaken {
  bytes: number
}

export class HandshakeStream {
  readonly #transport: Transport
  readonly #all: Untaken
  readonly #busyPoll: BusyPoll
  readonly #queue = new ByteQueue()
  /** False while a client that sends too much ahead is held back. */
  #reading = true
  /** Bytes this client has not taken. */
  #untakenBytes = 0
  #roomCame: (() => void) | undefined
  #over: Error | undefined
  #gone = false

  constructor(transport: Transport, all: Untaken, busyPoll: BusyPoll) {
    this.#transport = transport
    this.#all = all
    this.#busyPoll = busyPoll
  }

  /** Copies the bytes received. Returns false where no more should be read for now. */
  received(bytes: Uint8Array): boolean {
    this.#queue.push(bytes)
    this.#reading = this.#queue.wanted || this.#queue.length <= aheadBytesMax
    return this.#reading
  }

  /**
   * Resolves with the next `length` bytes. Allows one call at a time, as does `send`. Both reject when the
   * handshake is over.
   */
  take(length: number): Promise<Buffer> {
    const bytes = this.#queue.take(length)
    if (!this.#reading) {
      this.#reading = true
      this.#transport.resume()
    }
    return bytes
  }

  /** Returns all bytes received and not taken. */
  takeRest(): Buffer {
    return this.#queue.takeRest()
  }

  /** Resolves when more may be sent to the client. */
  async send(bytes: Uint8Array): Promise<void> {
    if (this.#over) throw this.#over
    const cost = bytes.length + replyCost
    this.#count(cost)
    this.#transport.stream.write(bytes, () => {
      this.#count(-cost)
      if (this.#hasRoom) this.#roomCame?.()
    })
    this.#busyPoll.expect()
    if (!this.#hasRoom)
      await new Promise<void>((resolve) => {
        this.#roomCame = resolve
      })
    if (this.#over) throw this.#over
  }

  /** Ends the handshake: pending and later calls of `take` and `send` reject. */
  end(error: Error): void {
    this.#over ??= error
    this.#queue.end(error)
    this.#roomCame?.()
  }

  /** The stream is gone and holds nothing. */
  streamGone(): void {
    this.#count(-this.#untakenBytes)
    this.#gone = true
  }

  /** Where all clients together have left much untaken, each has to take its replies before it gets more. */
  get #hasRoom(): boolean {
    const { writableLength } = this.#transport.stream
    const isLittle = this.#untakenBytes <= untakenBytesMax && this.#all.bytes <= untakenTotalBytesMax
    return writableLength === 0 || isLittle
  }

  #count(bytes: number): void {
    if (this.#gone) return
    this.#untakenBytes += bytes
    this.#all.bytes += bytes
  }
}
