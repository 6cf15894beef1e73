/**
 * A model of docs/lifecycle.md: clients, layers and a program do random things to a server, one step at a
 * time, and whatever happens is compared with what may happen. Time does not pass but when the model says so.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Concurrency, type Connection, createServer, type Log, type Server } from '../../src/index.js'
import { NBD_EINVAL, NBD_ENOSPC } from '../../src/protocol/constants.js'
import { pair, type Random, seeded } from '../../src/testing/index.js'
import { type Asked, blockBytes, Client, describe } from './model-client.js'
import { type Decisions, Judge, type Transport } from './model-judge.js'
import { diskBlocks, diskBytes, modelDisk, modelFilter } from './model-layers.js'
import { randomPlan } from './model-plan.js'
import { VirtualTime } from './virtual-time.js'

/** Of a server that is told to stop: how long, in ms of the model's time. */
const graceMs = 30_000
/** From the end of the grace to where a server gives up. */
const settleMs = 1000
const clientsMax = 6

export interface Run {
  readonly seed: number
  readonly transport: Transport
  /** The disk lends memory for writes; clients trim, zero, and die in the middle of payloads more often. */
  readonly windowed: boolean
}

/**
 * Makes one run. Rejects with an AssertionError that says what broke, and the last things that happened
 * before; all of them where `wordy`. `directory` is where sockets are made.
 */
export async function runModel(run: Run, directory: string, wordy: boolean): Promise<void> {
  const time = new VirtualTime()
  time.install()
  const model = new Model(run, `${directory}/${run.seed}`, time)
  try {
    await model.run()
  } catch (error) {
    const told = model.trace.slice(wordy ? 0 : -60).join('\n  ')
    throw new assert.AssertionError({
      message: `${error instanceof Error ? error.message : error}\n  ${told}`,
    })
  } finally {
    time.restore()
    model.clean()
  }
}

class Model implements Decisions {
  readonly #random: Random
  readonly #transport: Transport
  readonly #windowed: boolean
  readonly #path: string
  readonly #time: VirtualTime
  readonly #server: Server
  readonly #judge: Judge
  readonly #layers: number
  /** Large requests are the rule, and many are in flight. */
  readonly #heavy: boolean
  /** Plans wait seldom. */
  readonly #nimble: boolean
  #nextStamp = 1
  #stopped = false
  #insisted = false
  /** How long ago the grace was over. */
  #sinceGraceMs = 0

  constructor({ seed, transport, windowed }: Run, path: string, time: VirtualTime) {
    const random = seeded(seed)
    this.#random = random
    this.#transport = transport
    this.#windowed = windowed
    this.#path = path
    this.#time = time
    this.#heavy = random.chance(0.15)
    this.#nimble = random.chance(0.3)
    const filters = Array.from({ length: random.below(4) }, () => ({
      overrides: random.chance(0.7),
      closesNext: random.chance(0.15),
      lends: windowed,
    }))
    this.#layers = filters.length + 1
    const concurrency: Concurrency =
      this.#heavy || random.chance(0.7)
        ? 'parallel'
        : random.pick(['serialize-requests', 'serialize-all-requests'] as const)
    const threads = this.#heavy ? 16 : random.pick([1, 2, 16])
    const judge = new Judge(
      {
        transport,
        limit: concurrency === 'parallel' ? threads : 1,
        shared: concurrency === 'serialize-all-requests',
        closesNext: filters.map(({ closesNext }) => closesNext),
      },
      this,
    )
    this.#judge = judge
    this.#server = createServer({
      plugin: modelDisk(judge, filters.length, concurrency, windowed),
      filters: filters.map((manners, layer) => modelFilter(judge, layer, manners)),
      threads,
      graceMs,
      log: this.#log(),
    })
    judge.server = this.#server
    judge.note(`${concurrency}, ${threads} threads, filters: ${JSON.stringify(filters)}`)
  }

  get trace(): readonly string[] {
    return this.#judge.trace
  }

  #log(): Log {
    const log: Log = {
      debugging: true,
      debug: (message) => this.#judge.note(message),
      error: (message) => {
        this.#judge.note(message)
        if (/bug|cannot move|stops without/.test(message)) this.#judge.violated(message)
      },
      child: () => log,
    }
    return log
  }

  clean(): void {
    for (const { stream } of this.#judge.clients) stream.destroy()
    for (const held of this.#judge.held.splice(0)) held.open()
    if (!this.#stopped) this.#server.shutdown({ graceMs: 0 }).catch(() => {})
  }

  async run(): Promise<void> {
    if (this.#transport === 'unix') await this.#server.listen({ path: this.#path })
    this.#server.stopped.then(
      () => {
        this.#stopped = true
      },
      (error: unknown) => this.#judge.violated(String(error)),
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
    if (this.#judge.violation !== undefined) assert.fail(this.#judge.violation)
  }

  async #step(): Promise<void> {
    const random = this.#random
    const roll = random.below(100)
    const { clients } = this.#judge
    const alive = clients.filter(({ over }) => !over)
    if (alive.length === 0 || (roll < 6 && clients.length < clientsMax)) return this.#connect()
    const client = random.pick(alive)
    const handshaking = alive.filter(({ steps, ended }) => steps.length > 0 && !ended)
    if (roll < 20 && handshaking.length > 0) random.pick(handshaking).steps.shift()?.()
    else if (roll < 50) this.#sendSome(client)
    else if (roll < 58) this.#goOn(client)
    else if (roll < 80) for (let many = this.#heavy ? random.below(5) : 1; many > 0; many--) this.#release()
    else if (roll < 84) this.#rest(client)
    else if (roll < 88) this.#leave(client)
    else if (roll < 92) await this.#disconnect(client)
    else if (roll < 93 && random.chance(0.6)) this.#shutDown()
    else if (roll < 97) await this.#passTime(random.pick([1, 10, 49, 60]))
    else if (roll < 98 && (this.#judge.stopping || random.chance(0.1)))
      await this.#passTime(this.#insisted ? 100 : graceMs + 1)
    else await this.#settle()
  }

  // Clients.

  async #connect(): Promise<void> {
    const { clients, stopping } = this.#judge
    if (stopping && this.#server.state === 'draining' && this.#transport === 'pair') {
      const [ours, theirs] = pair()
      ours.on('error', () => {})
      await assert.rejects(this.#server.serve(theirs), 'S4 no more clients')
    }
    if (stopping || this.#stopped) return
    if (clients.length >= clientsMax) return this.#release()
    const name = 'c'.repeat(clients.length + 1)
    let stream: Duplex
    let connection: Connection | undefined
    if (this.#transport === 'pair') {
      const [ours, theirs] = pair()
      stream = ours
      connection = await this.#server.serve(theirs)
    } else {
      const before = new Set(this.#server.connections)
      stream = connect({ path: this.#path, allowHalfOpen: true }).on('error', () => {})
      while (connection === undefined) {
        await immediate()
        if (this.#server.state !== 'serving') return void stream.destroy()
        connection = [...this.#server.connections].find((one) => !before.has(one))
      }
    }
    const { chance } = this.#random
    const eager = this.#transport === 'pair' && chance(0.3)
    const client = new Client(name, stream, connection, { structured: chance(0.5), eager }, this.#judge)
    this.#judge.connected(client)
  }

  #sendSome(client: Client): void {
    const random = this.#random
    if (!client.canSend || client.partial !== undefined || client.phase !== 'transmission') return
    const batch = Array.from({ length: 1 + random.below(5) }, () => this.#make(client))
    const last = batch.at(-1)
    const bytes = last?.operation === 'write' || last?.wrong === NBD_ENOSPC ? 28 + last.length : 28
    const held = random.chance(this.#windowed ? 0.4 : 0.15) ? 1 + random.below(bytes - 1) : 0
    this.#judge.note(
      `${client.name} sends ${batch.map(describe)}${held > 0 ? `, but for ${held} bytes` : ''}`,
    )
    client.send(batch, held, this.#judge.refuses(client))
  }

  #make(client: Client): Asked {
    const random = this.#random
    const large = random.chance(this.#heavy || this.#windowed ? 0.7 : 0.1)
    const blocks = large ? random.pick([64, 128, 256]) : 1 + random.below(3)
    const offset = random.below(diskBlocks - blocks + 1) * blockBytes
    const length = blocks * blockBytes
    const stamp = this.#nextStamp++
    const fields = {
      offset,
      length,
      plan: randomPlan(random, this.#layers, this.#nimble),
      wrong: 0,
      stamp: 0,
    }
    const roll = random.below(100)
    if (this.#windowed && random.chance(0.15))
      return client.make({ ...fields, operation: random.pick(['zero', 'trim'] as const) })
    if (roll < 45) return client.make({ ...fields, operation: 'write', stamp })
    if (roll < 80) return client.make({ ...fields, operation: 'read' })
    if (roll < 90) return client.make({ ...fields, operation: 'flush', offset: 0, length: 0 })
    if (roll < 95) return client.make({ ...fields, operation: 'wrong', wrong: NBD_EINVAL })
    return client.make({ ...fields, operation: 'wrong', wrong: NBD_ENOSPC, offset: diskBytes, stamp })
  }

  /** Goes on with what was begun. */
  #goOn(client: Client): void {
    if (client.partial === undefined || !client.canSend) return
    if (this.#windowed && !this.#judge.stopping && this.#random.chance(0.4)) {
      const bytes = this.#random.below(client.partial.rest.length)
      this.#judge.note(`${client.name} sends ${bytes} more of ${describe(client.partial.asked)}`)
      client.advance(bytes)
      return
    }
    this.#judge.note(`${client.name} sends the rest of ${describe(client.partial.asked)}`)
    client.finish(this.#judge.refuses(client))
  }

  /** Stops reading, or goes on. */
  #rest(client: Client): void {
    // The end of a pair takes with it what was not yet read, as no socket does. Who rests must not write to a
    // socket that ends: an error of the write would do the same.
    if (this.#transport === 'pair' || (client.saidGoodbye && !client.paused)) return
    client.paused = !client.paused
    this.#judge.note(`${client.name} ${client.paused ? 'rests' : 'reads on'}`)
    if (client.paused) client.stream.pause()
    else client.stream.resume()
  }

  #leave(client: Client): void {
    const roll = this.#random.below(4)
    if (roll === 0) {
      this.#judge.note(`${client.name} dies`)
      client.destroy()
    } else if (client.ended) return
    else if (roll === 1 || client.phase !== 'transmission') {
      this.#judge.note(`${client.name} ends its side`)
      client.end()
    } else if (client.canSend && client.partial === undefined) {
      this.#judge.note(`${client.name} sends DISC`)
      client.disc()
    }
  }

  // The program.

  #release(): void {
    const { held } = this.#judge
    const one = held.splice(this.#random.below(held.length), 1)[0]
    if (one === undefined) return
    this.#judge.note(`released: ${one.client?.name ?? 'server'}, ${one.what}`)
    one.open()
  }

  /** From outside of any callback. */
  async #disconnect(client: Client): Promise<void> {
    // In the handshake a disconnect counts once the server knows the device: not quite when its open returns.
    await immediate()
    this.disconnect(client, this.#random.pick(['soft', 'linger', 'force']))
  }

  disconnect(client: Client, what: 'soft' | 'linger' | 'force'): void {
    const { connection } = client
    const before = connection.state
    const counts = client.deviceOpen && before !== 'closed'
    this.#judge.note(
      `disconnect of ${client.name}: ${what}, ${counts ? before : 'which is too early or too late'}`,
    )
    const lingerMs = this.#random.pick([0, 5, 50])
    if (counts && what === 'force') client.mayDrop = true
    if (counts && what !== 'force') {
      client.soft = true
      client.lingers ||= what === 'linger'
      client.hasty ||= what === 'linger' && lingerMs === 0
    }
    connection.disconnect(what === 'force', what === 'linger' ? { lingerMs } : {})
    let after = before
    if (counts && what === 'force') after = 'closed'
    else if (counts && before === 'transmission') after = 'draining'
    this.#judge.expect(connection.state === after, `C1 C2 C7 it is ${connection.state} after ${before}`)
    if (counts && what === 'force') this.#judge.expect(connection.signal.aborted, 'C1 the signal fires')
  }

  #shutDown(): void {
    if (this.#judge.stopping && this.#random.chance(0.5)) {
      this.#judge.note('the program insists')
      this.#insisted = true
      this.#server.shutdown({ graceMs: 0 }).catch(() => {})
    } else {
      this.#judge.note('the program shuts down')
      this.#server.shutdown().catch(() => {})
    }
    this.#judge.stopping = true
  }

  moment(mayFail: boolean): 'fail' | 'hold' | 'go on' {
    const roll = this.#random.below(100)
    if (mayFail && roll < 4) return 'fail'
    return roll < 20 ? 'hold' : 'go on'
  }

  lends(): boolean {
    return this.#random.chance(0.8)
  }

  afterReply(client: Client): void {
    if (client.eager && this.#random.chance(0.3)) this.#sendSome(client)
  }

  // Time.

  /** Lets time pass, when all that can happen now has happened. */
  async #passTime(ms: number): Promise<void> {
    await this.#settle()
    const { clients, held, stopping } = this.#judge
    // A server gives up what is held for too long after its grace.
    if (this.#sinceGraceMs + ms >= settleMs && held.length > 0) return
    this.#judge.note(`${ms} ms pass`)
    const graceIsOver = stopping && (this.#insisted || ms > graceMs)
    if (graceIsOver) for (const client of clients) client.mayDrop = true
    this.#time.pass(ms)
    if (!graceIsOver) return
    this.#sinceGraceMs += this.#insisted ? ms : ms - graceMs
    for (const { name, connection } of clients)
      this.#judge.expect(connection.state === 'closed', `S7 ${name} is ${connection.state} past the grace`)
  }

  /** Lets everything happen that can, and then looks whether it has. */
  async #settle(): Promise<void> {
    const quietTurns = this.#transport === 'pair' ? 4 : 10
    let before = -1
    for (let turn = 0; turn < quietTurns; turn++) {
      if (before !== this.#judge.activity) turn = 0
      before = this.#judge.activity
      await immediate()
    }
    this.#judge.mustHaveHappened()
    this.#check()
  }

  /** Stops the server, sees that it does, and looks at what is left. */
  async #finish(): Promise<void> {
    const { clients, held } = this.#judge
    this.#shutDown()
    for (const client of clients) if (client.paused) this.#rest(client)
    for (let round = 0; !this.#stopped; round++) {
      if (round === 2000) assert.fail(`the server does not stop: ${held.map(({ what }) => what)}`)
      for (const client of clients) this.#goOn(client)
      this.#release()
      await this.#passTime(this.#random.pick([1, 60]))
    }
    await this.#settle()
    this.#judge.accounts(this.#layers)
    this.#check()
  }
}

function immediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
