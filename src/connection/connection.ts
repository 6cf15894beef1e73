/**
 * One client: owns the stream, the state and the devices it opened. Every change of state goes through
 * `#enter`.
 */

import type {
  Connection,
  ConnectionInfo,
  ConnectionState,
  DisconnectOptions,
  Peer,
} from '../api/connection.js'
import type { Device } from '../api/device.js'
import { isA, messageOf, stackOf } from '../api/errors.js'
import type { Log } from '../api/log.js'
import { type Call, Running } from '../chain/running.js'
import { safeController } from '../lib/safe-signal.js'
import type { Agreement } from './agreement.js'
import type { Gate } from './concurrency.js'
import { Ending, timeoutMsMax } from './ending.js'
import { Failures } from './failures.js'
import { type Session, shakeHands } from './handshake.js'
import { HandshakeStream } from './handshake-stream.js'
import { hasHungUp } from './hang-up-watch.js'
import { MemoryShare } from './memory-budget.js'
import { OpenExport } from './open-export.js'
import { endInOrder } from './parting.js'
import { ReceiveBuffers } from './receive-buffer.js'
import type { PeerOf, ServerResources } from './server-resources.js'
import { move } from './states.js'
import { Transmission } from './transmission.js'
import type { Connect, Receiver, Transport } from './transport.js'

/**
 * How long a client that is being shut down may stay quiet before its connection closes: time for requests
 * that are still on their way.
 */
export const quietMs = 50

class ClientGone extends Error {
  override readonly name = 'ClientGone'
}
/** One for all: each connection ends with it, and a stack costs more than the rest of the end. */
const clientGone = new ClientGone('the client has gone')

export class ClientConnection implements Connection {
  readonly id: number
  readonly since = new Date()
  /** Resolves when the callbacks have settled, the devices are closed, and the stream is gone. */
  readonly closed: Promise<void>
  readonly #resources: ServerResources
  readonly #log: Log
  readonly #gate: Gate
  readonly #transport: Transport
  readonly #buffers: ReceiveBuffers
  readonly #share: MemoryShare
  readonly #running = new Running()
  readonly #failures: Failures
  readonly #handshake: HandshakeStream
  readonly #peerOf: PeerOf
  #peer: Peer | undefined
  #state: ConnectionState = 'greeting'
  #abort: AbortController | undefined
  /** The signal has fired, or fires as soon as it is first requested. */
  #signalled = false
  readonly #export: OpenExport
  #phase: Transmission | undefined
  readonly #ending = new Ending({
    look: () => this.#active(),
    quiet: () => this.#finish(),
    late: () => this.drop('the deadline of its disconnect has come'),
  })
  #handshakeTimer: NodeJS.Timeout | undefined
  #softened = false
  /** DISC ends the requests of a client, and the end of its stream ends all that it sends. */
  #client: 'sends' | 'said goodbye' | 'ended' = 'sends'
  #optionInHand = false
  #devicesClosed = false
  readonly #streamGone: Promise<void>
  #onStreamGone = () => {}
  /** Called when the connection is closed and no callback is running. */
  #onSettled = () => {}

  constructor(id: number, connect: Connect, peerOf: PeerOf, resources: ServerResources) {
    this.id = id
    this.#resources = resources
    this.#peerOf = peerOf
    this.#log = resources.log.child(`client ${id}`)
    this.#failures = new Failures(this.#log, () => this.#isClosed)
    this.#gate = resources.gate()
    this.#buffers = new ReceiveBuffers(resources.pool)
    this.#export = new OpenExport({
      links: resources.links,
      gate: this.#gate,
      running: this.#running,
      request: (exportName) => ({ exportName, readOnly: resources.readOnly, tls: false, connection: this }),
    })
    const receiver: Receiver = {
      buffer: () => this.#phase?.memory() ?? this.#buffers.current.bytes,
      received: (length, chunk) => this.#received(length, chunk),
      ended: () => this.#ended(),
      closed: (error) => this.#streamClosed(error),
    }
    this.#streamGone = new Promise((resolve) => {
      this.#onStreamGone = resolve
    })
    this.#transport = connect(receiver)
    this.#handshake = new HandshakeStream(this.#transport, resources.untaken, resources.busyPoll)
    this.#share = new MemoryShare(resources.budget, {
      movedBytes: () => this.#phase?.movedBytes ?? 0,
      stalled: () => this.#phase?.waitsForClient && this.drop('others wait for memory, and it is too slow'),
    })
    // Start later: the first callback may ask for `closed`.
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
    return this.#export.name
  }
  get readOnly(): boolean {
    return this.#resources.readOnly
  }
  get tls(): boolean {
    return false
  }
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = safeController((error) =>
        this.#log.error(`a listener of connection.signal failed: ${messageOf(error)}`),
      )
      if (this.#signalled) this.#abort.abort()
    }
    return this.#abort.signal
  }
  get requests(): number {
    return this.#phase?.counts.requests ?? 0
  }
  get bytesRead(): number {
    return this.#phase?.counts.bytesRead ?? 0
  }
  get bytesWritten(): number {
    return this.#phase?.counts.bytesWritten ?? 0
  }

  toJSON(): ConnectionInfo {
    const { id, peer, state, exportName, readOnly, tls, requests, bytesRead, bytesWritten } = this
    const since = this.since.toISOString()
    return { id, peer, state, exportName, readOnly, tls, since, requests, bytesRead, bytesWritten }
  }

  disconnect(force: boolean, options: DisconnectOptions = {}): boolean {
    if (this.#log.debugging) this.#log.debug(`disconnect force=${force} in state ${this.#state}`)
    if (this.#isClosed || (!this.#export.isOpen && !options.inHandshake)) return false
    if (force) this.drop('disconnect by force')
    else this.soften(options)
    return true
  }

  /** A getter, because the compiler assumes that `#state` keeps its value across an `await`. */
  get #isClosed(): boolean {
    return this.#state === 'closed'
  }

  /** Soft disconnect. Also works before a device is open. */
  soften({ lingerMs, deadlineMs }: DisconnectOptions = {}): void {
    if (this.#isClosed) return
    this.#softened = true
    if (this.#state === 'transmission') this.#enter('draining')
    this.#phase?.refuseAll()
    if (lingerMs !== undefined) this.#ending.afterQuiet(lingerMs)
    if (deadlineMs !== undefined) this.#ending.within(deadlineMs)
  }

  /** Ends at once: sends and answers nothing more (LIFECYCLE C1). Also ends a stream that cannot finish. */
  drop(why: string): void {
    if (!this.#isClosed) {
      if (this.#log.debugging) this.#log.debug(`dropped: ${why}`)
      this.#enter('closed')
    }
    this.#transport.stream.destroy()
    // A connection that closed in order may still wait for callbacks. A drop tells them to stop.
    this.#fireSignal()
  }

  #fireSignal(): void {
    this.#signalled = true
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
    this.#ending.closed()
    this.#phase?.end()
    this.#handshake.end(clientGone)
  }

  /** Closes in order, after all replies have been written. The stream ends once the devices are closed. */
  #finish(): void {
    if (this.#isClosed) return
    this.#enter('closed')
    this.#active()
  }

  async #live(): Promise<void> {
    await this.#open()
    // The connection is open, or closed before it was. From here on, the end of the stream and of each
    // callback calls `#active`, which resolves this.
    await new Promise<void>((resolve) => {
      this.#onSettled = resolve
      this.#active()
    })
    // Includes calls that a filter started and did not await.
    await this.#running.settled()
    this.#share.end()
    await this.#export.close()
    this.#devicesClosed = true
    if (!this.#transport.stream.destroyed) endInOrder(this.#transport, () => this.#client === 'sends')
    await this.#streamGone
    this.#ending.gone()
    clearTimeout(this.#handshakeTimer)
  }

  /** Runs from the first callback to the transmission phase. Never rejects: an error ends the connection. */
  async #open(): Promise<void> {
    const { handshakeTimeoutMs } = this.#resources.settings
    const limited = handshakeTimeoutMs > 0 && handshakeTimeoutMs <= timeoutMsMax
    if (limited) this.#handshakeTimer = setTimeout(() => this.#timedOut(), handshakeTimeoutMs)
    try {
      for (const { name, instance } of this.#resources.links)
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
      // A client that is gone was already dropped or closed in order.
      if (!isA(error, ClientGone)) {
        this.#failures.ended(error)
        this.drop(messageOf(error))
      }
    }
  }

  #timedOut(): void {
    const { handshakeTimeoutMs } = this.#resources.settings
    this.#log.error(`the handshake took longer than ${handshakeTimeoutMs} ms`)
    this.drop('handshake timeout')
  }

  #session(): Session {
    return {
      settings: this.#resources.settings,
      readOnly: this.#resources.readOnly,
      draining: () => this.#softened,
      take: (length) => this.#handshake.take(length),
      send: (bytes) => this.#handshake.send(bytes),
      turn: async () => {
        await this.#resources.turns.next(this)
        if (this.#isClosed) throw clientGone
      },
      greeted: () => {
        if (this.#isClosed) throw clientGone
        this.#enter('options')
      },
      optionInHand: (inHand) => {
        this.#optionInHand = inHand
        this.#active()
      },
      exports: () =>
        this.#failures
          .noted('the exports cannot be listed', this.#export.list())
          .then((exports) => this.#resources.lists.hold(exports)),
      // The export is open, so failing to name it is no reason for an error.
      canonicalName: async (name) =>
        name ||
        this.#failures.noted('the default export has no name', this.#export.defaultName()).catch(() => name),
      open: (name) =>
        this.#failures.noted(`the export ${JSON.stringify(name)} cannot be opened`, this.#openDevice(name)),
      debug: (message) => {
        if (this.#log.debugging) this.#log.debug(message())
      },
    }
  }

  async #openDevice(name: string): Promise<Device> {
    const device = await this.#export.open(name)
    if (this.#isClosed) throw new ClientGone('the client left while its export was opened')
    return device
  }

  #begin(agreement: Agreement): void {
    clearTimeout(this.#handshakeTimer)
    const { pool, busyPoll, hangUps, widen, waitingBytesMax } = this.#resources
    this.#phase = new Transmission({
      agreement,
      pool,
      busyPoll,
      hangUps,
      widen,
      waitingBytesMax,
      transport: this.#transport,
      buffers: this.#buffers,
      gate: this.#gate,
      share: this.#share,
      log: this.#log,
      events: {
        active: () => this.#active(),
        disconnected: () => {
          this.#client = 'said goodbye'
          this.#endWhenIdle()
        },
        gone: () => this.drop('the client is gone'),
        lost: (why) => {
          this.#log.error(why)
          this.drop(why)
        },
        bug: (error) => {
          this.#log.error(`this is a bug: ${stackOf(error)}`)
          this.drop('bug')
        },
      },
    })
    this.#enter('transmission')
    if (this.#softened) this.soften()
    this.#phase.start(this.#handshake.takeRest())
  }

  #received(length: number, chunk: Uint8Array | undefined): boolean {
    // The stream ends in order, or is gone.
    if (this.#isClosed) return this.#devicesClosed
    if (this.#phase) return this.#phase.received(length, chunk)
    // Copies the bytes, so that the buffer can stay small during the handshake.
    return this.#handshake.received(chunk ?? this.#buffers.current.bytes.subarray(0, length))
  }

  /** The peer will send no more. */
  #ended(): void {
    const saidGoodbye = this.#client === 'said goodbye'
    this.#client = 'ended'
    if (this.#isClosed) return
    const { stream } = this.#transport
    // A client that has closed both directions takes no replies.
    if (!this.#phase || this.#phase.starved || hasHungUp(stream)) this.drop('the client left')
    else {
      this.#resources.hangUps.begin(stream, () => this.drop('the client is gone'))
      this.#endWhenIdle()
      // The client may have vanished, or may still read. Callbacks that sleep for it go on at once, unless it
      // said goodbye: then they finish their sleep.
      if (!saidGoodbye && !this.#phase.endsWithGoodbye) this.#fireSignal()
    }
  }

  #streamClosed(error: Error | undefined): void {
    if (error && this.#log.debugging) this.#log.debug(error.message)
    // Also where the connection closes in order: its devices need not take their time.
    if (!this.#devicesClosed) this.drop('the client is gone')
    // Release the buffers only now: until here the socket could receive into them.
    this.#buffers.release()
    this.#handshake.streamGone()
    this.#onStreamGone()
    this.#active()
  }

  #endWhenIdle(): void {
    if (this.#state === 'transmission') this.#enter('draining')
    this.#ending.whenIdle()
  }

  /** Reacts to activity. Where the connection is about to end, the quiet period starts again. */
  #active(): void {
    if (this.#isClosed) {
      if ((this.#phase?.inFlight ?? 0) === 0) this.#onSettled()
      return
    }
    if (this.#client === 'ended' && this.#phase?.starved) {
      this.drop('the client left in the middle of a request')
      return
    }
    this.#ending.active(() => (this.#phase ? this.#phase.idle : !this.#optionInHand))
  }
}
