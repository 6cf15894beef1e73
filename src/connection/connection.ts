/** One client: owns the stream, the state and the devices it opened. Every move goes through `#enter`. */
import type { Duplex } from 'node:stream'
import type { Connection, ConnectionState, Peer } from '../api/connection.js'
import type { Device } from '../api/device.js'
import { messageOf } from '../api/errors.js'
import type { Log } from '../api/log.js'
import type { Export, OpenRequest } from '../api/plugin.js'
import { defaultExport, listExports } from '../chain/exports.js'
import { type Link, openChain } from '../chain/open.js'
import { type Call, Running } from '../chain/running.js'
import type { BusyPoll } from '../lib/busy-poll.js'
import { ByteQueue } from '../protocol/byte-queue.js'
import { optionBytesMax, outputBytesMax } from '../protocol/limits.js'
import type { BufferPool } from './buffer-pool.js'
import type { Agreement } from './commands.js'
import type { Gate } from './concurrency.js'
import { Failures } from './failures.js'
import { type HandshakeSettings, type Session, shakeHands } from './handshake.js'
import { type HangUpWatch, hasHungUp } from './hang-up-watch.js'
import { type MemoryBudget, MemoryShare } from './memory-budget.js'
import { ReceiveBuffers } from './receive-buffer.js'
import { move } from './states.js'
import { Transmission } from './transmission.js'
import { type Connect, drained, type Receiver, type Transport } from './transport.js'

/** What all connections of a server have in common. */
export interface Host {
  readonly links: readonly Link[]
  readonly readOnly: boolean
  readonly settings: HandshakeSettings & { readonly handshakeTimeoutMs: number }
  readonly pool: BufferPool
  readonly busyPoll: BusyPoll
  readonly budget: MemoryBudget
  readonly hangUps: HangUpWatch
  /** Makes a stream take more at once, where that can be. */
  widen(stream: Duplex): void
  readonly log: Log
  /** The gate of one connection: its own, or one for all, as the layers' concurrency asks. */
  gate(): Gate
}

/** Tells who is at the other end of a stream. */
export type PeerOf = (stream: Duplex) => Peer

/**
 * How long a client that is being shut down may stay quiet before it is closed: time for what is on its way
 * to us.
 */
export const quietMs = 50

/** Node's timers count in 32 bits; what is longer is without end. */
export const timeoutMsMax = 2 ** 31 - 1

/** What a client may send ahead of the option in hand. */
const handshakeBytesMax = 2 * optionBytesMax

class ClientGone extends Error {
  override readonly name = 'ClientGone'
}

export class ClientConnection implements Connection {
  readonly id: number
  /** Resolves when the connection is closed, its callbacks have settled and its devices are closed. */
  readonly closed: Promise<void>
  readonly #host: Host
  readonly #log: Log
  readonly #gate: Gate
  readonly #transport: Transport
  readonly #buffers: ReceiveBuffers
  readonly #share: MemoryShare
  readonly #running = new Running()
  readonly #failures: Failures
  readonly #queue = new ByteQueue()
  readonly #peerOf: PeerOf
  #peer: Peer | undefined
  #state: ConnectionState = 'greeting'
  #abort: AbortController | undefined
  #dropped = false
  #exportName = ''
  #device: { readonly name: string; readonly device: Device } | undefined
  #phase: Transmission | undefined
  /** False while a client that sends too much ahead in the handshake is held back. */
  #reading = true
  /** Set once the connection ends when it is idle: after so many ms of quiet. */
  #lingerMs: number | undefined
  #linger: NodeJS.Timeout | undefined
  #lastLook: NodeJS.Immediate | undefined
  #softened = false
  #peerEnded = false
  #optionInHand = false
  /** Called when the connection is closed and no callback runs any more. */
  #onSettled = () => {}

  constructor(id: number, connect: Connect, peerOf: PeerOf, host: Host) {
    this.id = id
    this.#host = host
    this.#peerOf = peerOf
    this.#log = host.log.child(`client ${id}`)
    this.#failures = new Failures(this.#log, () => this.#isClosed)
    this.#gate = host.gate()
    this.#buffers = new ReceiveBuffers(host.pool)
    const receiver: Receiver = {
      buffer: () => this.#phase?.memory() ?? this.#buffers.current.bytes,
      received: (length, chunk) => this.#received(length, chunk),
      ended: () => this.#ended(),
      closed: (error) => this.#streamClosed(error),
    }
    this.#transport = connect(receiver)
    this.#share = new MemoryShare(host.budget, {
      movedBytes: () => this.#phase?.movedBytes ?? 0,
      stalled: () => this.#phase?.waitsForClient && this.drop('others wait for memory, and it is too slow'),
    })
    // Not at once: the first callback may ask for `closed`.
    this.closed = Promise.resolve().then(() => this.#live())
  }

  get peer(): Peer {
    this.#peer ??= this.#peerOf(this.#transport.stream)
    return this.#peer
  }
  get state(): ConnectionState {
    return this.#state
  }
  get exportName(): string {
    return this.#exportName
  }
  get readOnly(): boolean {
    return this.#host.readOnly
  }
  get tls(): boolean {
    return false
  }
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#dropped) this.#abort.abort()
    }
    return this.#abort.signal
  }

  disconnect(force: boolean, options: { readonly lingerMs?: number } = {}): void {
    if (this.#log.debugging) this.#log.debug(`disconnect force=${force} in state ${this.#state}`)
    if (this.#isClosed || this.#device === undefined) return
    if (force) this.drop('disconnect by force')
    else this.soften(options.lingerMs)
  }

  /** A getter, as the compiler takes what it read of `#state` before a wait for what holds after it. */
  get #isClosed(): boolean {
    return this.#state === 'closed'
  }

  /** Soft disconnect, also before a device is open. With `lingerMs`: closes after so long a quiet. */
  soften(lingerMs?: number): void {
    if (this.#isClosed) return
    this.#softened = true
    if (this.#state === 'transmission') this.#enter('draining')
    this.#phase?.refuseAll()
    if (lingerMs !== undefined && lingerMs <= timeoutMsMax) this.#endAfterQuiet(lingerMs)
  }

  /** Ends at once: nothing more is sent or answered (LIFECYCLE C1). Also ends a stream that cannot finish. */
  drop(why: string): void {
    if (!this.#isClosed) {
      if (this.#log.debugging) this.#log.debug(`dropped: ${why}`)
      this.#enter('closed')
    }
    this.#transport.stream.destroy()
    // A connection that closed in order may still wait for callbacks: a drop tells them to stop.
    this.#dropped = true
    this.#abort?.abort()
  }

  /** The innermost callback that has not settled. */
  stuck(): Call | undefined {
    return this.#running.stuck()
  }

  #enter(state: ConnectionState): void {
    if (this.#log.debugging) this.#log.debug(`${this.#state} -> ${state}`)
    this.#state = move(this.#state, state)
    if (state !== 'closed') return
    this.#stopLingering()
    this.#phase?.end()
    // Only the handshake takes from it.
    if (this.#phase === undefined) this.#queue.end(new ClientGone('the connection is closed'))
  }

  /** Closes in order: all that was answered has been written. */
  #finish(): void {
    if (this.#isClosed) return
    this.#enter('closed')
    const { stream } = this.#transport
    stream.end(() => stream.destroy())
  }

  async #live(): Promise<void> {
    await this.#open()
    // Open, or closed before it was: from here on the end of the stream and of each callback leads here.
    await new Promise<void>((resolve) => {
      this.#onSettled = resolve
      this.#active()
    })
    // Also what a filter called and did not wait for.
    await this.#running.settled()
    this.#share.end()
    await this.#gate.run(() => this.#device?.device.close())
  }

  /**
   * From the first callback to the transmission phase. Never rejects: what goes wrong ends the connection.
   */
  async #open(): Promise<void> {
    const { handshakeTimeoutMs } = this.#host.settings
    const limited = handshakeTimeoutMs > 0 && handshakeTimeoutMs <= timeoutMsMax
    const timeout = limited ? setTimeout(() => this.#timedOut(), handshakeTimeoutMs) : undefined
    try {
      for (const { name, instance } of this.#host.links)
        if (instance.accept && !this.#isClosed)
          await this.#running.watch(
            name,
            'accept',
            this.#gate.run(async () => instance.accept?.(this)),
          )
      this.#transport.resume()
      const agreement = await shakeHands(this.#session())
      if (agreement && !this.#isClosed) this.#begin(agreement)
      else this.#finish()
    } catch (error) {
      // Who is gone was dropped, or closed in order, already.
      if (!(error instanceof ClientGone)) {
        this.#failures.ended(error)
        this.drop(messageOf(error))
      }
    }
    clearTimeout(timeout)
  }

  #timedOut(): void {
    const { handshakeTimeoutMs } = this.#host.settings
    this.#log.error(`the handshake took longer than ${handshakeTimeoutMs} ms`)
    this.drop('handshake timeout')
  }

  #session(): Session {
    return {
      settings: this.#host.settings,
      readOnly: this.#host.readOnly,
      draining: () => this.#softened,
      take: (length) => {
        const bytes = this.#queue.take(length)
        this.#readOn()
        return bytes
      },
      send: (bytes) => this.#send(bytes),
      greeted: () => {
        if (this.#isClosed) throw new ClientGone('the client left while it was greeted')
        this.#enter('options')
      },
      optionInHand: (inHand) => {
        this.#optionInHand = inHand
        this.#active()
      },
      exports: () => this.#failures.noted('the exports cannot be listed', this.#listExports()),
      // The export is open: what it is called is not worth an error.
      canonicalName: async (name) =>
        name ||
        this.#failures.noted('the default export has no name', this.#defaultExport()).catch(() => name),
      open: (name) =>
        this.#failures.noted(`the export ${JSON.stringify(name)} cannot be opened`, this.#openDevice(name)),
      debug: (message) => {
        if (this.#log.debugging) this.#log.debug(message())
      },
    }
  }

  #openRequest(exportName: string): OpenRequest {
    return { exportName, readOnly: this.#host.readOnly, tls: false, connection: this }
  }

  #listExports(): Promise<readonly Export[]> {
    return this.#gate.run(() => listExports(this.#host.links, this.#openRequest(''), this.#running))
  }

  #defaultExport(): Promise<string> {
    return this.#gate.run(() => defaultExport(this.#host.links, this.#openRequest(''), this.#running))
  }

  /** One device at a time, and the same for each option that names the same export. */
  async #openDevice(name: string): Promise<Device> {
    if (this.#device?.name === name) return this.#device.device
    const last = this.#device
    this.#device = undefined
    if (last) await this.#gate.run(() => last.device.close())
    this.#exportName = name
    const exportName = name || (await this.#defaultExport())
    const device = await this.#gate.run(() =>
      openChain(this.#host.links, this.#openRequest(exportName), this.#running),
    )
    this.#device = { name, device }
    if (this.#isClosed) throw new ClientGone('the client left while its export was opened')
    return device
  }

  async #send(bytes: Uint8Array): Promise<void> {
    const { stream } = this.#transport
    if (this.#isClosed) throw new ClientGone('the connection is closed')
    stream.write(bytes)
    this.#host.busyPoll.expect()
    if (stream.writableLength > outputBytesMax) await drained(stream)
  }

  #begin(agreement: Agreement): void {
    const { pool, busyPoll, hangUps, widen } = this.#host
    this.#phase = new Transmission({
      agreement,
      pool,
      busyPoll,
      hangUps,
      widen,
      transport: this.#transport,
      buffers: this.#buffers,
      gate: this.#gate,
      share: this.#share,
      log: this.#log,
      events: {
        active: () => this.#active(),
        disconnected: () => this.#endAfterQuiet(0),
        gone: () => this.drop('the client is gone'),
        lost: (why) => {
          this.#log.error(why)
          this.drop(why)
        },
        bug: (error) => {
          this.#log.error(`this is a bug: ${error instanceof Error ? error.stack : error}`)
          this.drop('bug')
        },
      },
    })
    this.#enter('transmission')
    if (this.#softened) this.soften()
    this.#phase.start(this.#queue.takeRest())
  }

  #received(length: number, chunk: Uint8Array | undefined): boolean {
    if (this.#isClosed) return false
    if (this.#phase) return this.#phase.received(length, chunk)
    this.#queue.push(chunk ?? this.#buffers.current.bytes.subarray(0, length))
    if (chunk === undefined) this.#buffers.next(length)
    this.#reading = this.#queue.length <= handshakeBytesMax
    return this.#reading
  }

  #readOn(): void {
    if (this.#reading) return
    this.#reading = true
    this.#transport.resume()
  }

  /** The peer will send no more. */
  #ended(): void {
    if (this.#isClosed) return
    this.#peerEnded = true
    // A client that has closed both ways takes no answers.
    if (!this.#phase || this.#phase.starved || hasHungUp(this.#transport.stream)) this.drop('the client left')
    else this.#endAfterQuiet(0)
  }

  #streamClosed(error: Error | undefined): void {
    if (error && this.#log.debugging) this.#log.debug(error.message)
    if (!this.#isClosed) this.drop('the client is gone')
    // Not before: the socket might still receive into it.
    this.#buffers.release()
    this.#active()
  }

  #endAfterQuiet(ms: number): void {
    if (this.#state === 'transmission') this.#enter('draining')
    this.#lingerMs = Math.min(ms, this.#lingerMs ?? ms)
    // Not at once: it may be a callback that asks for it, and nothing may end under it.
    setImmediate(() => this.#active())
  }

  #stopLingering(): void {
    clearTimeout(this.#linger)
    clearImmediate(this.#lastLook)
  }

  /** Something happened. Where the end is near, the quiet begins anew. */
  #active(): void {
    if (this.#isClosed) {
      if ((this.#phase?.inFlight ?? 0) === 0) this.#onSettled()
      return
    }
    if (this.#peerEnded && this.#phase?.starved) {
      this.drop('the client left in the middle of a request')
      return
    }
    if (this.#lingerMs === undefined) return
    this.#stopLingering()
    if (!(this.#phase ? this.#phase.idle : !this.#optionInHand)) return
    if (this.#lingerMs === 0) this.#finish()
    else
      this.#linger = setTimeout(() => {
        // What came while the server was busy elsewhere is read before this: it is not quiet then.
        this.#lastLook = setImmediate(() => this.#finish())
      }, this.#lingerMs)
  }
}
