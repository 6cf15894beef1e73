/** A server of one chain of layers: its states, its clients, its shutdown. */
import { Socket } from 'node:net'
import { availableParallelism } from 'node:os'
import type { Duplex } from 'node:stream'
import type { Connection } from '../api/connection.js'
import { ConfigError, isA, messageOf } from '../api/errors.js'
import { type Log, silentLog } from '../api/log.js'
import type { Concurrency } from '../api/plugin.js'
import {
  type ListenTarget,
  type Server,
  type ServerOptions,
  type ServerState,
  StuckError,
} from '../api/server.js'
import { type Call, Running } from '../chain/running.js'
import { type Chain, endAll, makeReady, setUp } from '../chain/setup.js'
import { BufferPool } from '../connection/buffer-pool.js'
import { Gate } from '../connection/concurrency.js'
import { ClientConnection, quietMs } from '../connection/connection.js'
import { timeoutMsMax } from '../connection/ending.js'
import { ListBudget } from '../connection/export-list.js'
import { HandshakeTurns } from '../connection/handshake-turns.js'
import { HangUpWatch } from '../connection/hang-up-watch.js'
import { MemoryBudget } from '../connection/memory-budget.js'
import type { PeerOf, ServerResources } from '../connection/server-resources.js'
import { type Connect, overAccepted, overDescriptor, overStream } from '../connection/transport.js'
import { inFlightMax, waitingBytes } from '../connection/tuning.js'
import { safeLog } from '../lib/safe-log.js'
import { safeController } from '../lib/safe-signal.js'
import { BusyPoll, busyPollUsMax } from '../net/busy-poll.js'
import { widen } from '../net/socket-descriptor.js'
import { checkOptions, checkTarget } from './arguments.js'
import { type Listener, listen, peerOf, uriOf, type Welcome } from './listen.js'
import { move } from './states.js'

/**
 * Makes a server. It does nothing until `ready`, `listen` or `serve`.
 *
 * @throws ConfigError where an option is unknown, missing or of the wrong type.
 * @example
 * await using server = createServer({ plugin: memory({ size: '1G' }) })
 * await server.listen({ port: 0 })
 */
export function createServer(options: ServerOptions): Server {
  checkOptions(options)
  return new NbdServer(options)
}

const defaultGraceMs = 30_000
/** With a single processor, the client cannot run while the server stays awake for it. */
const defaultBusyPollUs = availableParallelism() > 1 ? 50 : 0
/** The least time for dropped work to settle. */
const settleMsMin = 1000

class NbdServer implements Server {
  readonly stopping: Promise<void>
  readonly stopped: Promise<void>
  readonly #options: ServerOptions
  readonly #log: Log
  readonly #running = new Running()
  readonly #connections = new Set<ClientConnection>()
  readonly #listeners: Listener[] = []
  readonly #addresses: ListenTarget[] = []
  #state: ServerState = 'created'
  #chain: Chain | undefined
  #resources: ServerResources | undefined
  #ready: Promise<void> | undefined
  /** Admits one connection after the other, for layers that serialize connections. */
  #turns: Gate | undefined
  #nextId = 1
  /** Fires when a shutdown begins. */
  readonly #abort: AbortController = safeController((error) =>
    this.#log.error(`a listener of the signal that the server stops failed: ${messageOf(error)}`),
  )
  /** Called when the grace is over before every layer was ready. */
  #giveUpSetUp: ((error: StuckError) => void) | undefined
  #graceMs: number
  #deadline: { readonly at: number; readonly timer: NodeJS.Timeout } | undefined
  #settle!: { resolve(): void; reject(error: Error): void }

  constructor(options: ServerOptions) {
    this.#options = options
    this.#log = options.log === undefined ? silentLog : safeLog(options.log)
    this.#graceMs = options.graceMs ?? defaultGraceMs
    this.stopping = new Promise((resolve) => {
      this.#abort.signal.addEventListener('abort', () => resolve(), { once: true })
    })
    this.stopped = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    // Callers of `shutdown` get the rejection. A plugin that asks for a shutdown awaits nothing.
    this.stopped.catch(() => {})
  }

  get #stopping(): boolean {
    return this.#abort.signal.aborted
  }
  get state(): ServerState {
    return this.#state
  }
  get connections(): ReadonlySet<Connection> {
    return this.#connections
  }
  get addresses(): readonly ListenTarget[] {
    return this.#addresses
  }
  get uri(): string | undefined {
    const address = this.#addresses[0]
    return address && uriOf(address, this.#options.exportName ?? '')
  }

  ready(): Promise<void> {
    if (this.#stopping && this.#ready === undefined) return Promise.resolve()
    // Start later: a layer that asks for a shutdown during set-up must find this promise to wait for. The
    // race ends the wait where a layer cannot be closed after a failure.
    this.#ready ??= Promise.race([
      Promise.resolve().then(() => this.#setUp()),
      new Promise<never>((_, reject) => this.stopped.catch(reject)),
    ])
    return this.#ready
  }

  async listen(target: ListenTarget): Promise<void> {
    checkTarget(target)
    await this.ready()
    if (this.#stopping) return
    const { keepAlive } = this.#options
    const welcome: Welcome = {
      accept: (client) => void this.#accept(overAccepted(client), peerOf),
      lost: (problem) => this.#log.error(problem),
    }
    const listener = await listen(target, welcome, keepAlive)
    this.#listeners.push(listener)
    if (this.#stopping) listener.close()
    else this.#serving(listener.address)
  }

  async serve(client: Duplex | { readonly fd: number }): Promise<Connection> {
    await this.ready()
    this.#serving()
    // Some streams have a descriptor, too.
    const connection = await ('write' in client
      ? this.#accept(overStream(client), client instanceof Socket ? peerOf : () => ({ family: 'stream' }))
      : this.#accept(connectFd(client.fd), peerOf))
    if (connection === undefined) throw new Error('the server is shutting down: it takes no more clients')
    return connection
  }

  shutdown({ graceMs = this.#graceMs }: { readonly graceMs?: number } = {}): Promise<void> {
    if (this.#state !== 'stopped') this.#shortenGrace(graceMs)
    if (!this.#stopping) {
      this.#abort.abort()
      void this.#stop()
    }
    return this.stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown()
  }

  async #setUp(): Promise<void> {
    const { plugin, filters = [], readOnly = false, threads = inFlightMax } = this.#options
    const { busyPollUs = defaultBusyPollUs, shared = [] } = this.#options
    const stopping = this.#abort.signal
    const shutdown = () => this.#askForShutdown()
    const { stdioSafe = true, debugFlags = [] } = this.#options
    const process = { stdioSafe, busyPollUs, debugFlags }
    const late = new Promise<never>((_, reject) => {
      this.#giveUpSetUp = reject
    })
    late.catch(() => {})
    try {
      if (!Number.isInteger(threads) || threads < 1)
        throw new ConfigError(`threads: ${threads} is not an integer from 1 on`)
      if (!(busyPollUs >= 0 && busyPollUs <= busyPollUsMax))
        throw new ConfigError(`busyPollUs: ${busyPollUs} is not a number from 0 to ${busyPollUsMax}`)
      this.#chain = await setUp([...filters, plugin], {
        context: { readOnly, stopping, shutdown },
        process,
        log: this.#log,
        running: this.#running,
        late,
        shared,
      })
      this.#refuseStrict(this.#chain)
      this.#enter('configured')
      await makeReady(this.#chain, readOnly, this.#running, late)
      this.#enter('ready')
    } catch (error) {
      if (this.#chain) await endAll(this.#chain.links, this.#running)
      this.#chain = undefined
      this.#stopped(isA(error, StuckError) ? error : undefined)
      throw error
    } finally {
      this.#giveUpSetUp = undefined
    }
    this.#resources = this.#makeResources(this.#chain)
  }

  /** Refuses concurrency that needs one thread: threads do not wait for each other. */
  #refuseStrict({ concurrency }: Chain): void {
    const isStrict = concurrency === 'serialize-connections' || concurrency === 'serialize-all-requests'
    if (isStrict && this.#options.shared !== undefined)
      throw new ConfigError(`a concurrency of ${concurrency} cannot be kept by several threads`)
  }

  #makeResources({ links, concurrency }: Chain): ServerResources {
    const { readOnly = false, threads = inFlightMax } = this.#options
    const { oldstyle = false, maskHandshake = 0xffff, handshakeTimeoutMs = 0 } = this.#options
    const { structuredReplies = true, metaContexts = true, busyPollUs = defaultBusyPollUs } = this.#options
    if (concurrency === 'serialize-connections') this.#turns = new Gate(1)
    return {
      links,
      readOnly,
      settings: {
        ...{ oldstyle, maskHandshake, structuredReplies, metaContexts, handshakeTimeoutMs },
        severalClients: concurrency !== 'serialize-connections',
      },
      pool: new BufferPool(),
      busyPoll: new BusyPoll(busyPollUs),
      budget: new MemoryBudget(),
      hangUps: new HangUpWatch(),
      lists: new ListBudget(),
      untaken: { bytes: 0 },
      turns: new HandshakeTurns(),
      widen,
      log: this.#log,
      gate: gates(concurrency, threads),
      // A number that the user chose holds for requests of any length.
      waitingBytesMax: this.#options.threads === undefined ? waitingBytes : Number.POSITIVE_INFINITY,
    }
  }

  #serving(address?: ListenTarget): void {
    if (this.#state === 'ready') this.#enter('serving')
    if (address) this.#addresses.push(address)
  }

  async #accept(connect: Connect, peer: PeerOf): Promise<ClientConnection | undefined> {
    const resources = this.#resources
    if (resources === undefined || this.#stopping) {
      refuse(connect)
      return undefined
    }
    if (this.#turns) {
      while (this.#turns.full && !this.#stopping)
        await new Promise<void>((wake) => this.#turns?.whenFree(wake))
      if (this.#stopping) {
        refuse(connect)
        return undefined
      }
      this.#turns.enter()
    }
    const connection = new ClientConnection(this.#nextId++, connect, peer, resources)
    this.#connections.add(connection)
    void connection.closed.then(() => {
      this.#connections.delete(connection)
      this.#turns?.leave()
    })
    return connection
  }

  /**
   * Starts a shutdown for a layer. Nothing may change while the layer's callback runs. Before the server
   * serves, `shutdown` itself waits for set-up.
   */
  #askForShutdown(): void {
    if (this.#state === 'serving') setImmediate(() => void this.shutdown())
    else void this.shutdown()
  }

  async #stop(): Promise<void> {
    // A layer may ask during set-up. The layers set up so far are then closed, and nothing ever listened.
    await this.#ready?.catch(() => {})
    if (this.#state === 'stopped') return
    if (this.#state === 'serving') this.#enter('draining')
    for (const listener of this.#listeners) listener.close()
    for (const connection of this.#connections) connection.soften({ lingerMs: quietMs })
    this.#turns?.wake()
    while (this.#connections.size > 0) await Promise.all([...this.#connections].map(({ closed }) => closed))
    if (this.#chain) await endAll(this.#chain.links, this.#running)
    this.#stopped()
  }

  #stopped(failure?: Error): void {
    if (this.#state === 'stopped') return
    clearTimeout(this.#deadline?.timer)
    this.#enter('stopped')
    if (failure) this.#settle.reject(failure)
    else this.#settle.resolve()
  }

  #shortenGrace(graceMs: number): void {
    if (graceMs > timeoutMsMax) return
    const at = performance.now() + graceMs
    if (this.#deadline !== undefined && this.#deadline.at <= at) return
    clearTimeout(this.#deadline?.timer)
    this.#graceMs = graceMs
    const timer = setTimeout(() => this.#graceIsOver(), graceMs)
    this.#deadline = { at, timer }
  }

  /**
   * Drops the remaining connections, and gives up a set-up that has not ended. After another wait, gives up
   * on callbacks that still run, and names one.
   */
  #graceIsOver(): void {
    this.#giveUpSetUp?.(this.#stuckError())
    for (const connection of this.#connections) connection.drop('the grace of the shutdown is over')
    const settleMs = Math.max(this.#graceMs, settleMsMin)
    this.#deadline = { at: 0, timer: setTimeout(() => this.#giveUp(), settleMs) }
  }

  #giveUp(): void {
    this.#stopped(this.#stuckError())
  }

  /** Names the callback that has not settled, and logs it. */
  #stuckError(): StuckError {
    const calls = [...this.#connections].map((connection) => connection.stuck())
    const call = [...calls, this.#running.stuck()].find((stuck) => stuck !== undefined)
    const error = new StuckError(call ? stuckText(call) : 'a connection does not end')
    this.#log.error(error.message)
    return error
  }

  #enter(state: ServerState): void {
    if (this.#log.debugging) this.#log.debug(`server ${this.#state} -> ${state}`)
    this.#state = move(this.#state, state)
  }
}

/** @throws ConfigError that names the descriptor. */
function connectFd(fd: number): Connect {
  try {
    return overDescriptor(fd)
  } catch (error) {
    throw new ConfigError(`file descriptor ${fd} is no connected socket: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/**
 * Returns a function for the gate of each new connection: one gate for all where the layers want one request
 * at a time.
 */
function gates(concurrency: Concurrency, threads: number): () => Gate {
  if (concurrency === 'serialize-all-requests') {
    const shared = new Gate(1)
    return () => shared
  }
  return () => new Gate(concurrency === 'parallel' ? threads : 1)
}

/** Ends a client that will not be served. */
function refuse(connect: Connect): void {
  const ignore = { buffer: () => new Uint8Array(1), received: () => false, ended() {}, closed() {} }
  connect(ignore).stream.destroy()
}

function stuckText({ layer, operation, since }: Call): string {
  const seconds = ((performance.now() - since) / 1000).toFixed(1)
  return `${layer}: ${operation} was called ${seconds} s ago and has not ended: the server stops without it`
}
