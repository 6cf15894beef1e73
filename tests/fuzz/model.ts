/**
 * A model of docs/lifecycle.md: clients, layers and a program do random things to a server, one step at a
 * time, and whatever happens is compared with what may happen. Time does not pass but when the model says so.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { mock } from 'node:test'
import {
  type Connection,
  createServer,
  type Log,
  type MaybePromise,
  type Server,
  type ServerContext,
} from '../../src/index.js'
import { NBD_EINVAL, NBD_ENOSPC, NBD_ESHUTDOWN } from '../../src/protocol/constants.js'
import { pair, type Random, seeded } from '../../src/testing/index.js'
import { type Asked, blockBytes, Client, type ClientEvents, describe } from './model-client.js'
import {
  diskBlocks,
  diskBytes,
  isIntact,
  type Manner,
  modelDisk,
  modelFilter,
  type Plan,
  type Watch,
} from './model-layers.js'

export type Transport = 'pair' | 'unix'

/** Of a server that is told to stop: how long, in ms of the model's time. */
const graceMs = 30_000
const clientsMax = 6

/**
 * Runs one seed. Rejects with an AssertionError that says what broke, and the last things that happened
 * before.
 * `directory` is where sockets are made.
 */
export async function runModel(seed: number, transport: Transport, directory: string): Promise<void> {
  mock.timers.enable({ apis: ['setTimeout'] })
  const world = new World(seed, transport, `${directory}/${seed}`)
  try {
    await world.run()
  } catch (error) {
    const told = world.trace.slice(process.env.MODEL_SEED === undefined ? -60 : 0).join('\n  ')
    throw new assert.AssertionError({ message: `${error instanceof Error ? error.stack : error}\n  ${told}` })
  } finally {
    mock.timers.reset()
    world.clean()
  }
}

interface Held {
  readonly client: Client | undefined
  readonly what: string
  readonly open: () => void
}

class World implements Watch, ClientEvents {
  readonly disk = Buffer.alloc(diskBytes)
  readonly trace: string[] = []
  readonly #random: Random
  readonly #transport: Transport
  readonly #path: string
  readonly #server: Server
  readonly #layers: number
  readonly #concurrency: 'parallel' | 'serialize-requests' | 'serialize-all-requests'
  readonly #threads: number
  readonly #overrides: readonly boolean[]
  readonly #clients: Client[] = []
  readonly #held: Held[] = []
  /** By block: the stamp of the last write to it, and all there ever were. */
  readonly #stamps = new Array<number>(diskBlocks).fill(0)
  readonly #everStamped = Array.from({ length: diskBlocks }, () => new Set([0]))
  /** Layers whose device is open, by client; layers that have ended. */
  readonly #openLayers = new Map<Client, Set<number>>()
  readonly #ended: number[] = []
  #nextStamp = 1
  #violation: string | undefined
  /** Grows with each thing that happens. */
  #activity = 0
  #stopped = false
  #insisted = false
  #askedToStop = false

  constructor(seed: number, transport: Transport, path: string) {
    const random = seeded(seed)
    this.#random = random
    this.#transport = transport
    this.#path = path
    this.#overrides = Array.from({ length: random.below(4) }, () => random.chance(0.7))
    this.#layers = this.#overrides.length + 1
    this.#concurrency = random.chance(0.7)
      ? 'parallel'
      : random.pick(['serialize-requests', 'serialize-all-requests'] as const)
    this.#threads = random.pick([1, 2, 16])
    const filters = this.#overrides.map((overrides, layer) => modelFilter(this, layer, overrides))
    const plugin = modelDisk(this, this.#layers - 1, this.#concurrency)
    this.#server = createServer({ plugin, filters, threads: this.#threads, graceMs, log: this.#log() })
    this.#note(`${this.#concurrency}, ${this.#threads} threads, filters ${this.#overrides.map(Number)}`)
  }

  #log(): Log {
    const log: Log = {
      debugging: true,
      debug: (message) => this.#note(message),
      error: (message) => {
        this.#note(message)
        if (/bug|cannot move|stops without/.test(message)) this.violated(message)
      },
      child: () => log,
    }
    return log
  }

  #note(what: string): void {
    this.trace.push(what)
  }

  violated(what: string): void {
    this.#note(`VIOLATED: ${what}`)
    this.#violation ??= what
  }

  #expect(holds: boolean, what: string): void {
    if (!holds) this.violated(what)
  }

  clean(): void {
    for (const { stream } of this.#clients) stream.destroy()
    for (const held of this.#held.splice(0)) held.open()
    if (!this.#stopped) this.#server.shutdown({ graceMs: 0 }).catch(() => {})
  }

  // What happens, as the model sees it.

  async run(): Promise<void> {
    if (this.#transport === 'unix') await this.#server.listen({ path: this.#path })
    this.#server.stopped.then(
      () => {
        this.#stopped = true
      },
      (error: unknown) => this.violated(String(error)),
    )
    const steps = 20 + this.#random.below(120)
    for (let step = 0; step < steps && !this.#stopped; step++) {
      await this.#step()
      for (let turn = this.#random.below(3); turn > 0; turn--) await immediate()
      this.#check()
    }
    await this.#finish()
  }

  #check(): void {
    if (this.#violation !== undefined) assert.fail(this.#violation)
  }

  async #step(): Promise<void> {
    const random = this.#random
    const roll = random.below(100)
    const alive = this.#clients.filter(({ over }) => !over)
    if (alive.length === 0 || (roll < 6 && this.#clients.length < clientsMax)) return this.#connect()
    const client = random.pick(alive)
    const handshaking = alive.filter(({ steps, ended }) => steps.length > 0 && !ended)
    if (roll < 20 && handshaking.length > 0) random.pick(handshaking).steps.shift()?.()
    else if (roll < 50) this.#sendSome(client)
    else if (roll < 58) this.#goOn(client)
    else if (roll < 80) this.#release()
    else if (roll < 84) this.#rest(client)
    else if (roll < 88) this.#leave(client)
    else if (roll < 92) await this.#disconnect(client)
    else if (roll < 93 && random.chance(0.6)) this.#shutDown()
    else if (roll < 97) await this.#passTime(random.pick([1, 10, 49, 60]))
    else if (roll < 98 && random.chance(0.1)) await this.#passTime(graceMs + 1)
    else await this.#settle()
  }

  async #connect(): Promise<void> {
    if (this.#server.state === 'draining' || this.#server.state === 'stopped' || this.#askedToStop) return
    if (this.#clients.length >= clientsMax) return this.#release()
    const before = new Set(this.#server.connections)
    const name = 'c'.repeat(this.#clients.length + 1)
    let stream: Duplex
    let connection: Connection | undefined
    if (this.#transport === 'pair') {
      const [ours, theirs] = pair()
      stream = ours
      connection = await this.#server.serve(theirs)
    } else {
      stream = connect({ path: this.#path, allowHalfOpen: true }).on('error', () => {})
      while (connection === undefined) {
        await immediate()
        if (this.#server.state !== 'serving') return void stream.destroy()
        connection = [...this.#server.connections].find((one) => !before.has(one))
      }
    }
    const client = new Client(name, stream, connection, this.#random.chance(0.5), this)
    this.#note(`${name} connects`)
    this.#clients.push(client)
    this.#openLayers.set(client, new Set())
    connection.signal.addEventListener('abort', () => this.#dropped(client))
    connection.closed.then(() => this.#gone(client))
  }

  clientOf(exportName: string): Client {
    const client = this.#clients.find(({ name }) => name === exportName)
    assert.ok(client, `no client asked for "${exportName}"`)
    return client
  }

  #sendSome(client: Client): void {
    const random = this.#random
    if (!client.canSend || client.partial !== undefined || client.phase !== 'transmission') return
    const batch = Array.from({ length: 1 + random.below(5) }, () => this.#make(client))
    const last = batch.at(-1)
    const bytes = last?.operation === 'write' || last?.wrong === NBD_ENOSPC ? 28 + last.length : 28
    const held = random.chance(0.15) ? 1 + random.below(bytes - 1) : 0
    this.#note(`${client.name} sends ${batch.map(describe)}${held > 0 ? `, but for ${held} bytes` : ''}`)
    client.send(batch, held, this.#refuses(client))
  }

  /** True once it is promised that whatever comes is refused. */
  #refuses(client: Client): boolean {
    return client.soft || this.#server.state === 'draining' || this.#server.state === 'stopped'
  }

  #make(client: Client): Asked {
    const random = this.#random
    const blocks = random.chance(0.05) ? 128 : random.chance(0.1) ? 64 : 1 + random.below(3)
    const offset = random.below(diskBlocks - blocks + 1) * blockBytes
    const length = blocks * blockBytes
    const stamp = this.#nextStamp++
    const plan = this.#plan()
    const fields = { offset, length, plan, wrong: 0, stamp: 0 }
    const roll = random.below(100)
    if (roll < 45) return client.make({ ...fields, operation: 'write', stamp })
    if (roll < 80) return client.make({ ...fields, operation: 'read' })
    if (roll < 90) return client.make({ ...fields, operation: 'flush', offset: 0, length: 0 })
    if (roll < 95) return client.make({ ...fields, operation: 'wrong', wrong: NBD_EINVAL })
    return client.make({ ...fields, operation: 'wrong', wrong: NBD_ENOSPC, offset: diskBytes, stamp })
  }

  #plan(): Plan {
    const random = this.#random
    const calm = random.chance(0.4)
    const manner = (): Manner => ({
      waits: calm || random.chance(0.4) ? 'not' : random.pick(['briefly', 'long'] as const),
      first: random.chance(0.5),
      early: random.chance(0.03),
      fails: random.chance(0.04) ? random.pick(['ENOSPC', 'crash'] as const) : 'not',
      asks: random.chance(0.015)
        ? random.pick(['soft', 'soft', 'linger', 'force', 'force', 'shutdown'] as const)
        : 'nothing',
    })
    return { manners: Array.from({ length: this.#layers }, manner), keeps: random.chance(0.5) }
  }

  /** Goes on with what was begun. */
  #goOn(client: Client): void {
    if (client.partial === undefined || !client.canSend) return
    this.#note(`${client.name} sends the rest of ${describe(client.partial.asked)}`)
    client.finish(this.#refuses(client))
  }

  /** Stops reading, or goes on. */
  #rest(client: Client): void {
    // The end of a pair takes with it what was not yet read, as no socket does. Who rests must not write to a
    // socket that ends: an error of the write would do the same.
    if (this.#transport === 'pair' || (client.saidGoodbye && !client.paused)) return
    client.paused = !client.paused
    this.#note(`${client.name} ${client.paused ? 'rests' : 'reads on'}`)
    if (client.paused) client.stream.pause()
    else client.stream.resume()
  }

  #leave(client: Client): void {
    const roll = this.#random.below(4)
    if (roll === 0) {
      this.#note(`${client.name} dies`)
      client.destroy()
    } else if (client.ended) return
    else if (roll === 1 || client.phase !== 'transmission') {
      this.#note(`${client.name} ends its side`)
      client.end()
    } else if (client.canSend && client.partial === undefined) {
      this.#note(`${client.name} sends DISC`)
      client.disc()
    }
  }

  #release(): void {
    const held = this.#held.splice(this.#random.below(this.#held.length), 1)[0]
    if (held === undefined) return
    this.#note(`released: ${held.client?.name ?? 'server'}, ${held.what}`)
    held.open()
  }

  /** From outside of any callback. */
  async #disconnect(client: Client): Promise<void> {
    // In the handshake a disconnect counts once the server knows the device: not quite when its open returns.
    await immediate()
    this.#disconnects(client, this.#random.pick(['soft', 'linger', 'force'] as const))
  }

  #disconnects(client: Client, what: 'soft' | 'linger' | 'force'): void {
    const { connection } = client
    const before = connection.state
    const counts = client.deviceOpen && before !== 'closed'
    this.#note(`disconnect of ${client.name}: ${what}, ${counts ? before : 'which is too early or too late'}`)
    if (what === 'force') {
      if (counts) client.mayDrop = true
      connection.disconnect(true)
      this.#expect(
        (connection.state === 'closed') === (counts || before === 'closed'),
        `C1 C7 state after disconnect(true)`,
      )
      if (counts) this.#expect(connection.signal.aborted, 'C1 the signal fires')
      return
    }
    const lingerMs = this.#random.pick([0, 5, 50])
    if (counts) {
      client.soft = true
      if (what === 'linger') client.lingers = true
      if (what === 'linger' && lingerMs === 0) client.hasty = true
    }
    connection.disconnect(false, what === 'linger' ? { lingerMs } : {})
    const after = counts && before === 'transmission' ? 'draining' : before
    this.#expect(
      connection.state === after,
      `C2 C7 state ${connection.state} after disconnect(false) in ${before}`,
    )
  }

  #shutDown(): void {
    if (this.#askedToStop && this.#random.chance(0.5)) {
      this.#note('the program insists')
      this.#insisted = true
      this.#server.shutdown({ graceMs: 0 }).catch(() => {})
    } else {
      this.#note('the program shuts down')
      this.#server.shutdown().catch(() => {})
    }
    this.#askedToStop = true
  }

  /** Lets time pass, when all that can happen now has happened. */
  async #passTime(ms: number): Promise<void> {
    await this.#settle()
    this.#note(`${ms} ms pass`)
    const graceIsOver = this.#askedToStop && (this.#insisted || ms > graceMs)
    if (graceIsOver) for (const client of this.#clients) client.mayDrop = true
    mock.timers.tick(ms)
  }

  // What the layers say.

  entered(client: Client, operation: string, offset: number, length: number): Asked {
    this.#activity++
    const where = `${client.name}: ${operation} ${length} at ${offset}`
    this.#note(`${where} enters`)
    this.#expect(
      !client.soft && this.#server.state === 'serving',
      `C2 S6 ${where} reaches a layer after a disconnect`,
    )
    this.#expect(client.connection.state !== 'closed', `C1 ${where} reaches a layer of a closed connection`)
    const asked = client.waiting.shift()
    const matches = asked?.operation === operation && asked.offset === offset && asked.length === length
    if (asked === undefined || !matches) {
      this.violated(`${where} reaches a layer, and ${asked ? describe(asked) : 'nothing'} was asked`)
      throw new Error('this is not what was asked')
    }
    this.#expect(!asked.unheard, `${where} reaches a layer, and was asked too late`)
    asked.entered = true
    const all = this.#clients.reduce((sum, { inFlight }) => sum + inFlight, 0)
    const limit = this.#concurrency === 'parallel' ? this.#threads : 1
    const busy = this.#concurrency === 'serialize-all-requests' ? all : client.inFlight
    this.#expect(busy < limit, `${where} is one more than ${limit} at once`)
    return asked
  }

  settled(client: Client, asked: Asked): void {
    this.#activity++
    this.#note(`${client.name}: ${describe(asked)} settles with ${asked.outcome}`)
  }

  hold(client: Client | undefined, what: string): Promise<void> {
    this.#note(`held: ${client?.name ?? 'server'}, ${what}`)
    return new Promise((open) => this.#held.push({ client, what, open }))
  }

  asks(client: Client, what: Manner['asks'], server: ServerContext): void {
    if (what === 'nothing') return
    if (what !== 'shutdown') {
      this.#disconnects(client, what)
      return
    }
    this.#note('a layer shuts down')
    const before = [this.#server.state, client.connection.state]
    server.shutdown()
    this.#askedToStop = true
    this.#expect(
      before.join() === [this.#server.state, client.connection.state].join(),
      'S3 shutdown() changes nothing at once',
    )
  }

  moment(client: Client | undefined, what: string, mayFail: boolean): MaybePromise<void> {
    this.#activity++
    const roll = this.#random.below(100)
    if (mayFail && roll < 4) throw new Error(`${what} fails`)
    if (roll < 20) return this.hold(client, what)
    return undefined
  }

  opened(client: Client, layer: number): void {
    this.#openLayers.get(client)?.add(layer)
    if (layer === 0) client.deviceOpen = true
  }

  closing(client: Client, layer: number): void {
    this.#activity++
    const what = `close of layer ${layer} of ${client.name}`
    this.#note(what)
    client.deviceOpen = false
    const open = this.#openLayers.get(client) ?? new Set()
    this.#expect(open.has(layer), `S8 ${what}, which is not open`)
    this.#expect(Math.min(...open) === layer, `S8 ${what}, but ${[...open]} are open`)
    this.#expect(client.running === 0, `S8 ${what}, but ${client.running} callbacks run`)
  }

  closed(client: Client, layer: number): void {
    this.#openLayers.get(client)?.delete(layer)
  }

  layerClosing(layer: number): void {
    this.#activity++
    this.#note(`end of layer ${layer}`)
    for (const [{ name }, open] of this.#openLayers)
      this.#expect(open.size === 0, `S8 layer ${layer} ends, but ${[...open]} of ${name} are open`)
    this.#expect(this.#ended.length === layer, `S8 layer ${layer} ends, after ${this.#ended}`)
  }

  layerClosed(layer: number): void {
    this.#ended.push(layer)
  }

  written(client: Client, asked: Asked, data: Uint8Array): void {
    this.#expect(
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

  // What the clients see.

  received({ name, connection, forced }: Client, _bytes: number): void {
    this.#activity++
    // On a socket, what the system has taken before is still on its way.
    if (this.#transport === 'pair' && forced)
      this.violated(`C1 ${name} receives something after it was dropped (${connection.state})`)
  }

  replied(client: Client, asked: Asked, data: Buffer | undefined): void {
    const { reply, outcome, entered, wrong } = asked
    const where = `${client.name}: ${describe(asked)} is answered with ${reply}`
    this.#note(where)
    this.#expect(asked.sent, `${where} before it was sent`)
    this.#expect(!asked.unheard, `${where} although it came too late`)
    if (asked.tooLate) this.#expect(reply === NBD_ESHUTDOWN, `C2 S6 ${where} after a disconnect`)
    if (reply === NBD_ESHUTDOWN) {
      this.#expect(!entered, `${where}, although it reached a layer`)
      this.#expect(this.#refuses(client), `C6 ${where}, and nobody disconnected it`)
      if (asked.operation !== 'wrong') this.#refused(client, asked)
    } else if (asked.operation === 'wrong') this.#expect(reply === wrong, `${where}, not ${wrong}`)
    else this.#expect(entered && reply === outcome, `S6 ${where}, the layers said ${outcome}`)
    if (asked.operation === 'write' && reply === 0)
      this.#expect(asked.applied, `S6 ${where}, but is not written`)
    if (data !== undefined) this.#checkRead(where, asked, data)
  }

  /** Requests are looked at in order: those before it have been refused too, or are with a layer. */
  #refused(client: Client, asked: Asked): void {
    const first = client.waiting.shift()
    this.#expect(
      first === asked,
      `${client.name}: ${describe(asked)} is refused before ${first ? describe(first) : 'none'}`,
    )
  }

  #checkRead(where: string, asked: Asked, data: Buffer): void {
    if (asked.expected) {
      const given = data.equals(asked.expected)
      this.#expect(given, `${where} with bytes that the device did not give`)
      return
    }
    for (let at = 0; at < data.length; at += blockBytes) {
      const stamp = data.readUInt32LE(at)
      const known = this.#everStamped[(asked.offset + at) / blockBytes]?.has(stamp)
      const unit = data.subarray(at, at + 4)
      const same = data.subarray(at, at + blockBytes).equals(Buffer.alloc(blockBytes, unit))
      this.#expect(same && known === true, `${where} with a block of ${stamp} at ${asked.offset + at}`)
    }
  }

  over(client: Client): void {
    this.#activity++
    this.#note(`${client.name} sees its connection end`)
    this.#mayEnd(client)
  }

  #mayEnd(client: Client): void {
    const { ended, saidGoodbye, leaves, lingers, mayDrop, soft, phase } = client
    const refused = soft && phase !== 'transmission'
    const may = ended || saidGoodbye || leaves || lingers || mayDrop || refused || this.#refusesAll()
    this.#expect(may, `C3 C6 the server ends ${client.name}, and nobody asked for it`)
  }

  #refusesAll(): boolean {
    return this.#server.state === 'draining' || this.#server.state === 'stopped'
  }

  /** The connection's signal fires. */
  #dropped(client: Client): void {
    this.#note(`${client.name} is dropped`)
    client.forced = true
    this.#expect(client.mayDrop, `${client.name} is dropped, and nobody asked for it`)
    for (const asked of client.asked.values()) {
      // Whatever a layer answers from now on is for nobody.
      if (asked.entered && asked.outcome === undefined) asked.unheard = true
    }
  }

  #gone(client: Client): void {
    this.#activity++
    this.#note(`${client.name} is closed`)
    this.#mayEnd(client)
    const open = this.#openLayers.get(client) ?? new Set()
    this.#expect(open.size === 0, `S8 ${client.name} is closed, but ${[...open]} are open`)
    this.#expect(client.running === 0, `S8 ${client.name} is closed, but ${client.running} callbacks run`)
  }

  // How it stands when nothing more can happen by itself.

  /** Lets everything happen that can, and then looks whether it has. */
  async #settle(): Promise<void> {
    const quiet = this.#transport === 'pair' ? 4 : 10
    let before = -1
    for (let turn = 0; turn < quiet; turn++) {
      if (before !== this.#activity) turn = 0
      before = this.#activity
      await immediate()
    }
    for (const client of this.#clients) this.#mustHaveHappened(client)
    this.#check()
  }

  #mustHaveHappened(client: Client): void {
    const { name, connection, partial, paused, forced, died } = client
    const held = this.#held.filter(
      (one) => one.client === client || this.#concurrency === 'serialize-all-requests',
    )
    if (this.#held.some((one) => one.client === undefined) || forced || died) return
    const unanswered = [...client.asked.values()].filter(
      (asked) => asked.sent && !asked.unheard && asked.reply === undefined,
    )
    if (!paused && !client.over) {
      const missing =
        held.length === 0 ? unanswered : unanswered.filter(({ entered }) => !entered && this.#refuses(client))
      for (const asked of missing)
        this.violated(`S6 C2 ${name}: ${describe(asked)} waits for an answer, and nobody works on it`)
    }
    if (held.length > 0 || paused || partial !== undefined) return
    const leaves = client.saidGoodbye || client.ended
    if (leaves)
      this.#expect(
        connection.state === 'closed',
        `C3 ${name} has left, and its connection is ${connection.state}`,
      )
  }

  /** Stops the server, sees that it does, and looks at what is left. */
  async #finish(): Promise<void> {
    this.#shutDown()
    for (const client of this.#clients) if (client.paused) this.#rest(client)
    for (let round = 0; !this.#stopped; round++) {
      assert.ok(round < 2000, `the server does not stop: ${this.#held.map(({ what }) => what)}`)
      for (const client of this.#clients) this.#goOn(client)
      this.#release()
      await this.#passTime(this.#random.pick([1, 60]))
    }
    await this.#settle()
    assert.equal(this.#server.connections.size, 0)
    assert.equal(this.#ended.length, this.#layers, 'S8 every layer is closed once')
    for (const client of this.#clients) this.#accounts(client)
    for (const [block, stamp] of this.#stamps.entries())
      assert.equal(this.disk.readUInt32LE(block * blockBytes), stamp, `block ${block}`)
  }

  /** Who was not dropped and did not die has an answer to everything. */
  #accounts(client: Client): void {
    const { name, forced, died, hasty } = client
    assert.ok(client.over || client.stream.destroyed, `S4 S6 ${name} is still connected`)
    if (forced || died) return
    for (const asked of client.asked.values())
      if (asked.sent && !asked.unheard && (asked.entered || !hasty))
        assert.notEqual(asked.reply, undefined, `S6 ${name}: ${describe(asked)} was never answered`)
  }
}

function immediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
