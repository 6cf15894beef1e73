/**
 * What the model expects: it sees all that layers and clients see, and says what docs/lifecycle.md does not
 * allow.
 */
import type { MaybePromise, Server, ServerContext } from '../../src/index.js'
import { NBD_ESHUTDOWN } from '../../src/protocol/constants.js'
import { type Asked, blockBytes, type Client, type ClientEvents, describe } from './model-client.js'
import { diskBlocks, diskBytes, isIntact, type Manner, type Watch } from './model-layers.js'

export type Transport = 'pair' | 'unix'

/** A callback that waits until the model lets it go on. */
export interface Held {
  /** None for what is done for the server as a whole. */
  readonly client: Client | undefined
  readonly what: string
  readonly open: () => void
}

/** What the model decides by itself, with its random numbers. */
export interface Decisions {
  /** In `open` or `close` of a layer: to throw, to wait, or neither. */
  moment(mayFail: boolean): 'fail' | 'hold' | 'go on'
  /** A client was answered: it may do something at once. */
  afterReply(client: Client): void
  disconnect(client: Client, what: 'soft' | 'linger' | 'force'): void
  /** The disk lends memory for this write. */
  lends(): boolean
}

/** What was chosen for the whole run. */
export interface Setting {
  readonly transport: Transport
  /** Requests of a connection that may be with a layer at once. */
  readonly limit: number
  /** The limit is for all connections together. */
  readonly shared: boolean
  /** By layer: it closes the next one itself, in its own close. */
  readonly closesNext: readonly boolean[]
}

export class Judge implements Watch, ClientEvents {
  readonly disk = Buffer.alloc(diskBytes)
  readonly clients: Client[] = []
  readonly held: Held[] = []
  /** What happened, in words. */
  readonly trace: string[] = []
  /** The first thing that is not allowed. */
  violation: string | undefined
  /** Grows with each thing that happens. */
  activity = 0
  /** A shutdown was asked for. */
  stopping = false
  server: Server | undefined
  readonly #setting: Setting
  readonly #decisions: Decisions
  /** By block: the stamp of the last write to it, and all there ever were. */
  readonly #stamps = new Array<number>(diskBlocks).fill(0)
  readonly #everStamped = Array.from({ length: diskBlocks }, () => new Set([0]))
  /** Layers whose device is open, and those whose close has begun, by client. */
  readonly #open = new Map<Client, Set<number>>()
  readonly #closing = new Map<Client, Set<number>>()
  /** Memory that is lent for a write of a client, and what came back. */
  readonly #lent = new Map<Uint8Array, Client>()
  readonly #released: Uint8Array[] = []
  /** Layers that have ended. */
  readonly #ended: number[] = []

  constructor(setting: Setting, decisions: Decisions) {
    this.#setting = setting
    this.#decisions = decisions
  }

  note(what: string): void {
    this.trace.push(what)
  }

  violated(what: string): void {
    this.note(`VIOLATED: ${what}`)
    this.violation ??= what
  }

  expect(holds: boolean, what: string): void {
    if (!holds) this.violated(what)
  }

  connected(client: Client): void {
    this.note(`${client.name} connects`)
    this.clients.push(client)
    this.#open.set(client, new Set())
    this.#closing.set(client, new Set())
    client.connection.signal.addEventListener('abort', () => this.#dropped(client))
    client.connection.closed.then(() => this.#gone(client))
  }

  clientOf(exportName: string): Client {
    const client = this.clients.find(({ name }) => name === exportName)
    if (client === undefined) throw new Error(`no client asked for "${exportName}"`)
    return client
  }

  /** True once it is promised that whatever this client sends is refused. */
  refuses(client: Client): boolean {
    return client.soft || this.#drains
  }

  get #drains(): boolean {
    return this.server?.state === 'draining' || this.server?.state === 'stopped'
  }

  // What the layers see.

  entered(client: Client, operation: string, offset: number, length: number): Asked {
    this.activity++
    const where = `${client.name}: ${operation} ${length} at ${offset}`
    this.note(`${where} enters`)
    this.expect(
      !client.soft && this.server?.state === 'serving',
      `C2 S6 ${where} reaches a layer after a disconnect`,
    )
    this.expect(client.connection.state !== 'closed', `C1 ${where} reaches a layer of a closed connection`)
    const asked = client.waiting.shift()
    const matches = asked?.operation === operation && asked.offset === offset && asked.length === length
    if (asked === undefined || !matches) {
      this.violated(`${where} reaches a layer, and ${asked ? describe(asked) : 'nothing'} was asked`)
      throw new Error('this is not what was asked')
    }
    this.expect(!asked.unheard, `${where} reaches a layer, and was asked too late`)
    asked.entered = true
    const all = this.clients.reduce((sum, { inFlight }) => sum + inFlight, 0)
    const { limit, shared } = this.#setting
    const busy = shared ? all : client.inFlight
    this.expect(busy < limit, `${where} is one more than ${limit} at once`)
    return asked
  }

  settled(client: Client, asked: Asked): void {
    this.activity++
    this.note(`${client.name}: ${describe(asked)} settles with ${asked.outcome}`)
  }

  hold(client: Client | undefined, what: string): Promise<void> {
    this.note(`held: ${client?.name ?? 'server'}, ${what}`)
    return new Promise((open) => this.held.push({ client, what, open }))
  }

  asks(client: Client, what: Manner['asks'], server: ServerContext): void {
    if (what === 'nothing') return
    if (what !== 'shutdown') {
      this.#decisions.disconnect(client, what)
      return
    }
    this.note('a layer shuts down')
    const before = [this.server?.state, client.connection.state]
    server.shutdown()
    this.stopping = true
    this.expect(
      before.join() === [this.server?.state, client.connection.state].join(),
      'S3 shutdown() changes nothing at once',
    )
  }

  moment(client: Client | undefined, what: string, mayFail: boolean): MaybePromise<void> {
    this.activity++
    const decision = this.#decisions.moment(mayFail)
    if (decision === 'fail') throw new Error(`${what} fails`)
    return decision === 'hold' ? this.hold(client, what) : undefined
  }

  opened(client: Client, layer: number): void {
    this.#open.get(client)?.add(layer)
    if (layer === 0) client.deviceOpen = true
  }

  closing(client: Client, layer: number): void {
    this.activity++
    const what = `close of layer ${layer} of ${client.name}`
    this.note(what)
    client.deviceOpen = false
    const open = this.#openLayers(client)
    const closing = this.#closing.get(client) ?? new Set()
    this.expect(open.has(layer), `S8 ${what}, which is not open`)
    this.expect(Math.min(...open) === layer, `S8 ${what}, but ${[...open]} are open`)
    this.expect(client.running === 0, `S8 ${what}, but ${client.running} callbacks run`)
    for (const other of closing)
      this.expect(this.#setting.closesNext[other] === true, `S8 ${what}, and ${other} is not done`)
    for (const owner of this.#lent.values())
      this.expect(owner !== client, `C12 ${what}, and a window that it was lent is not given back`)
    open.delete(layer)
    closing.add(layer)
  }

  closed(client: Client, layer: number): void {
    this.#closing.get(client)?.delete(layer)
  }

  #openLayers(client: Client): Set<number> {
    return this.#open.get(client) ?? new Set()
  }

  layerClosing(layer: number): void {
    this.activity++
    this.note(`end of layer ${layer}`)
    for (const client of this.clients) this.#isClosed(client, `layer ${layer} ends`)
    this.expect(this.#ended.length === layer, `S8 layer ${layer} ends, after ${this.#ended}`)
  }

  layerClosed(layer: number): void {
    this.#ended.push(layer)
  }

  written(client: Client, asked: Asked, data: Uint8Array): void {
    this.expect(
      isIntact(asked, data),
      `${client.name}: the bytes of ${describe(asked)} are not those that were sent`,
    )
    asked.applied = true
    this.disk.set(data, asked.offset)
    const first = asked.offset / blockBytes
    for (let block = first; block < first + asked.length / blockBytes; block++) {
      this.#stamps[block] = asked.stamp
      this.#everStamped[block]?.add(asked.stamp)
    }
  }

  lends(client: Client, offset: number, length: number): Uint8Array | undefined {
    this.activity++
    const where = `${client.name}: a window of ${length} at ${offset}`
    const [asked] = client.waiting
    this.expect(
      asked?.operation === 'write' && asked.offset === offset && asked.length === length,
      `${where}, and ${asked ? describe(asked) : 'nothing'} was asked`,
    )
    this.expect(!this.refuses(client), `C2 S6 ${where} is asked for after a disconnect`)
    this.expect(client.connection.state !== 'closed', `C1 ${where} is asked for by a closed connection`)
    if (!this.#decisions.lends()) return undefined
    this.note(`${where} is lent`)
    const window = new Uint8Array(length).fill(0x77)
    this.#lent.set(window, client)
    return window
  }

  released(client: Client, window: Uint8Array): void {
    this.activity++
    this.note(`${client.name}: a window of ${window.length} comes back`)
    this.expect(this.#lent.get(window) === client, `C12 ${client.name} gives back what it was not lent`)
    this.expect(
      this.#openLayers(client).size > 0,
      `C12 ${client.name} gives back a window when all is closed`,
    )
    this.#lent.delete(window)
    this.#released.push(window.fill(0x88))
  }

  // What the clients see.

  received({ name, connection, forced }: Client, _bytes: number): void {
    this.activity++
    // On a socket, what the system has taken before is still on its way.
    if (this.#setting.transport === 'pair' && forced)
      this.violated(`C1 ${name} receives something after it was dropped (${connection.state})`)
  }

  replied(client: Client, asked: Asked, data: Buffer | undefined): void {
    const { reply, outcome, entered, wrong } = asked
    const where = `${client.name}: ${describe(asked)} is answered with ${reply}`
    this.note(where)
    this.expect(asked.sent, `${where} before it was sent`)
    this.expect(!asked.unheard, `${where} although it came too late`)
    if (asked.tooLate) this.expect(reply === NBD_ESHUTDOWN, `C2 S6 ${where} after a disconnect`)
    if (reply === NBD_ESHUTDOWN) {
      this.expect(!entered, `${where}, although it reached a layer`)
      this.expect(this.refuses(client), `C6 ${where}, and nobody disconnected it`)
      if (asked.operation !== 'wrong') this.#refused(client, asked)
    } else if (asked.operation === 'wrong') this.expect(reply === wrong, `${where}, not ${wrong}`)
    else this.expect(entered && reply === outcome, `S6 ${where}, the layers said ${outcome}`)
    if (asked.operation === 'write' && reply === 0)
      this.expect(asked.applied, `S6 ${where}, but is not written`)
    if (data !== undefined) this.#checkRead(where, asked, data)
    this.#decisions.afterReply(client)
  }

  /** Requests are looked at in order: those before it have been refused too, or are with a layer. */
  #refused(client: Client, asked: Asked): void {
    const first = client.waiting.shift()
    this.expect(
      first === asked,
      `${client.name}: ${describe(asked)} is refused before ${first ? describe(first) : 'none'}`,
    )
  }

  #checkRead(where: string, asked: Asked, data: Buffer): void {
    if (asked.expected) {
      const given = data.equals(asked.expected)
      this.expect(given, `${where} with bytes that the device did not give`)
      return
    }
    for (let at = 0; at < data.length; at += blockBytes) {
      const stamp = data.readUInt32LE(at)
      const known = this.#everStamped[(asked.offset + at) / blockBytes]?.has(stamp)
      const unit = data.subarray(at, at + 4)
      const same = data.subarray(at, at + blockBytes).equals(Buffer.alloc(blockBytes, unit))
      this.expect(same && known === true, `${where} with a block of ${stamp} at ${asked.offset + at}`)
    }
  }

  over(client: Client): void {
    this.activity++
    this.note(`${client.name} sees its connection end`)
    this.#mayEnd(client)
  }

  #mayEnd(client: Client): void {
    const { ended, saidGoodbye, leaves, lingers, mayDrop, soft, phase } = client
    const refused = soft && phase !== 'transmission'
    const may = ended || saidGoodbye || leaves || lingers || mayDrop || refused || this.#drains
    this.expect(may, `C3 C6 the server ends ${client.name}, and nobody asked for it`)
  }

  /** The connection's signal fires. */
  #dropped(client: Client): void {
    if (client.connection.state !== 'closed') {
      this.note(`${client.name} asks no more`)
      this.expect(
        (client.ended || client.dead) && !client.saidGoodbye,
        `C8 the signal of ${client.name} fires, and it is here`,
      )
      client.woken = true
      return
    }
    this.note(`${client.name} is dropped`)
    client.forced = true
    this.expect(client.mayDrop, `${client.name} is dropped, and nobody asked for it`)
    for (const asked of client.asked.values()) {
      // Whatever a layer answers from now on is for nobody.
      if (asked.entered && asked.outcome === undefined) asked.unheard = true
    }
  }

  #gone(client: Client): void {
    this.activity++
    this.note(`${client.name} is closed`)
    this.#mayEnd(client)
    this.#isClosed(client, 'it is closed')
    this.expect(client.running === 0, `S8 ${client.name} is closed, but ${client.running} callbacks run`)
  }

  #isClosed(client: Client, when: string): void {
    const left = [...this.#openLayers(client), ...(this.#closing.get(client) ?? [])]
    this.expect(left.length === 0, `S8 ${when}, but layers ${left} of ${client.name} are open`)
  }

  // How it stands.

  /** When nothing more can happen by itself: whether all of it has. */
  mustHaveHappened(): void {
    if (this.held.some(({ client }) => client === undefined)) return
    for (const client of this.clients)
      if (!mayBeDropped(client) && !client.dead) this.#mustHaveHappenedTo(client)
  }

  #mustHaveHappenedTo(client: Client): void {
    const { name, connection, partial, paused, over } = client
    const waits = this.held.some((one) => one.client === client || this.#setting.shared)
    const unanswered = [...client.asked.values()].filter(
      (asked) => asked.sent && !asked.unheard && asked.reply === undefined,
    )
    if (!paused && !over && !client.endedMidway)
      for (const asked of unanswered)
        if (!waits || asked.outcome !== undefined || (!asked.entered && this.refuses(client)))
          this.violated(`S6 C2 ${name}: ${describe(asked)} waits for an answer, and nobody works on it`)
    if (waits || paused) return
    if (client.endedMidway && !this.refuses(client) && !client.saidGoodbye)
      this.violated(`C8 ${name} has ended in the middle of a request, and is not dropped`)
    if (partial === undefined && (client.saidGoodbye || client.ended))
      this.expect(connection.state === 'closed', `C3 ${name} has left, and is ${connection.state}`)
  }

  /** When the server has stopped: who was not dropped and did not die has an answer to everything. */
  accounts(layers: number): void {
    this.expect(this.server?.connections.size === 0, 'S6 every connection is gone')
    this.expect(this.#ended.length === layers, `S8 every layer ends once, but only ${this.#ended} did`)
    for (const client of this.clients) {
      const { name, hasty } = client
      this.expect(client.over || client.stream.destroyed, `S4 S6 ${name} is still connected`)
      if (mayBeDropped(client) || client.dead || client.endedMidway) continue
      for (const asked of client.asked.values())
        if (asked.sent && !asked.unheard && (asked.entered || !hasty))
          this.expect(asked.reply !== undefined, `S6 ${name}: ${describe(asked)} was never answered`)
    }
    this.expect(this.#lent.size === 0, `C12 ${this.#lent.size} windows were not given back`)
    for (const window of this.#released)
      this.expect(
        window.every((byte) => byte === 0x88),
        'C12 a window was received into after it was given back',
      )
    for (const [block, stamp] of this.#stamps.entries())
      this.expect(this.disk.readUInt32LE(block * blockBytes) === stamp, `block ${block} is not ${stamp}`)
  }
}

/** It has been dropped, as far as that can be told. */
function mayBeDropped({ forced, woken, mayDrop }: Client): boolean {
  return forced || (woken && mayDrop)
}
