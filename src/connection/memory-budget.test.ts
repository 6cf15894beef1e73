import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { NBD_CMD_READ, NBD_CMD_WRITE, NBD_ESHUTDOWN, NBD_OPT_GO } from '../protocol/constants.js'
import { payloadBytesMax } from '../protocol/limits.js'
import { createServer } from '../server/server.js'
import { encodeRequest, infoData, type RawClient } from '../testing/raw-client.js'
import { Disk, type Served, serve } from '../testing/served-disk.js'
import { type BudgetOptions, MemoryBudget, MemoryShare } from './memory-budget.js'
import {
  budgetBytes,
  largeBytesMin,
  paceBytesMin,
  shareBytesMax,
  shareBytesMin,
  sharesBytes,
  stallMs,
} from './tuning.js'

/** A share of one client, which moves bytes as the test says. */
function share(budget: MemoryBudget) {
  const client = { movedBytes: 0, stalls: 0, woken: 0 }
  const memory = new MemoryShare(budget, {
    movedBytes: () => client.movedBytes,
    stalled: () => void client.stalls++,
  })
  const reserve = (bytes: number, begun = false) => memory.reserve(bytes, () => void client.woken++, begun)
  return { client, memory, reserve }
}

const common = (options: BudgetOptions = {}) =>
  new MemoryBudget({ limitBytes: 100, shareBytesMax: 0, ...options })

describe('a memory budget', () => {
  it('lets a request into the share of its connection, whatever the others hold', () => {
    const budget = new MemoryBudget({ limitBytes: 100, shareBytesMax: 10 })
    const [first, second] = [share(budget), share(budget)]
    assert.ok(first.reserve(110))
    assert.equal(budget.usedBytes, 100)
    assert.ok(second.reserve(10))
    assert.equal(second.reserve(1), false)
    first.memory.release(1)
    assert.deepEqual([second.client.woken, budget.usedBytes], [1, 100])
  })

  it('divides what connections have of their own among all that there are', () => {
    const budget = new MemoryBudget()
    const shares = [share(budget)]
    assert.equal(budget.shareBytes, shareBytesMax)
    while (shares.length < 16) shares.push(share(budget))
    assert.equal(budget.shareBytes, sharesBytes / 16)
    while (shares.length < 1000) shares.push(share(budget))
    assert.equal(budget.shareBytes, shareBytesMin)
    for (const { memory } of shares.splice(8)) memory.end()
    assert.equal(budget.shareBytes, shareBytesMax)
  })

  it('serves those who wait in the order they came, and nobody overtakes them', () => {
    const budget = common()
    const [holder, large, small] = [share(budget), share(budget), share(budget)]
    assert.ok(holder.reserve(60))
    assert.equal(large.reserve(90), false)
    assert.equal(small.reserve(10), false)
    holder.memory.release(40)
    assert.deepEqual([large.client.woken, small.client.woken], [0, 0])
    holder.memory.release(10)
    assert.deepEqual([large.client.woken, small.client.woken, budget.usedBytes], [1, 0, 100])
    assert.ok(large.reserve(90))
    large.memory.release(90)
    assert.ok(small.reserve(10))
    assert.equal(budget.usedBytes, 20)
  })

  it('lets in one request that is larger than the limit, when nothing else is held', () => {
    const budget = common()
    const [first, second] = [share(budget), share(budget)]
    assert.ok(first.reserve(101))
    assert.equal(second.reserve(1), false)
  })

  it('gives back all of a connection that ends, once', () => {
    const budget = common()
    const [first, second] = [share(budget), share(budget)]
    assert.ok(first.reserve(101))
    first.memory.end()
    // Requests that end later release memory that was given back already.
    first.memory.release(101)
    first.memory.end()
    assert.equal(budget.usedBytes, 0)
    assert.ok(second.reserve(100))
    assert.equal(first.reserve(1), false)
  })

  it('forgets a connection that ends while it waits, or when it was just woken', () => {
    const budget = common()
    const [holder, waiting, woken, last] = [share(budget), share(budget), share(budget), share(budget)]
    assert.ok(holder.reserve(100))
    for (const { reserve } of [waiting, woken, last]) assert.equal(reserve(100), false)
    waiting.memory.end()
    holder.memory.release(100)
    assert.deepEqual([waiting.client.woken, woken.client.woken, last.client.woken], [0, 1, 0])
    woken.memory.end()
    assert.deepEqual([last.client.woken, budget.usedBytes], [1, 100])
  })

  it('takes back what was given to a request that was refused before it tried again', () => {
    const budget = common()
    const [holder, waiting] = [share(budget), share(budget)]
    assert.ok(holder.reserve(100))
    assert.equal(waiting.reserve(100), false)
    holder.memory.release(100)
    waiting.memory.cancel()
    assert.equal(budget.usedBytes, 0)
  })

  it('lets one half-received payload at a time go beyond the limit, so that they cannot block each other', () => {
    const budget = common()
    const [first, second, reader] = [share(budget), share(budget), share(budget)]
    assert.ok(first.reserve(50) && second.reserve(50))
    assert.equal(reader.reserve(30), false)
    assert.ok(first.reserve(50, true))
    assert.equal(second.reserve(50, true), false)
    assert.ok(first.reserve(50, true))
    assert.equal(budget.usedBytes, 200)
    first.memory.release(150)
    // Its payload has begun, so it comes before the reader, who came first.
    assert.deepEqual([second.client.woken, reader.client.woken], [1, 0])
    assert.ok(second.reserve(50, true))
    second.memory.release(100)
    assert.equal(reader.client.woken, 1)
  })
})

describe('a client that holds memory', () => {
  /** A clock of the test's own, and the time of the last pace check. */
  function watched() {
    let now = 0
    const budget = common({ now: () => now })
    const pass = (ms: number) => {
      now += ms
      budget.checkPace()
    }
    return { budget, pass }
  }

  it('and is slower than the least pace is told so, while others wait', () => {
    const { budget, pass } = watched()
    const [slow, waiting] = [share(budget), share(budget)]
    assert.ok(slow.reserve(100))
    pass(10 * stallMs)
    assert.equal(waiting.reserve(1), false)
    pass(stallMs - 1)
    assert.equal(slow.client.stalls, 0)
    slow.client.movedBytes += paceBytesMin - 1
    pass(1)
    assert.equal(slow.client.stalls, 1)
  })

  it('and keeps the least pace is left alone', () => {
    const { budget, pass } = watched()
    const [slow, waiting] = [share(budget), share(budget)]
    assert.ok(slow.reserve(100))
    assert.equal(waiting.reserve(1), false)
    for (let count = 0; count < 10; count++) {
      slow.client.movedBytes += paceBytesMin
      pass(stallMs)
    }
    assert.equal(slow.client.stalls, 0)
    pass(stallMs)
    assert.equal(slow.client.stalls, 1)
  })

  it('is not measured while nobody waits, however long it takes', () => {
    const { budget, pass } = watched()
    const [slow, waiting] = [share(budget), share(budget)]
    assert.ok(slow.reserve(100))
    assert.equal(waiting.reserve(1), false)
    pass(stallMs / 2)
    waiting.memory.end()
    for (let count = 0; count < 10; count++) pass(stallMs)
    const next = share(budget)
    assert.equal(next.reserve(1), false)
    pass(stallMs - 1)
    assert.equal(slow.client.stalls, 0)
  })

  it('of its own share alone is never measured', () => {
    let now = 0
    const budget = new MemoryBudget({ limitBytes: 100, shareBytesMax: 10, now: () => now })
    const [slow, holder, waiting] = [share(budget), share(budget), share(budget)]
    assert.ok(slow.reserve(10) && holder.reserve(110))
    assert.equal(waiting.reserve(11), false)
    now = stallMs
    budget.checkPace()
    assert.deepEqual([slow.client.stalls, holder.client.stalls], [0, 1])
  })
})

const size = payloadBytesMax + 4096
/** The number of longest requests that use up the budget. */
const holders = budgetBytes / payloadBytesMax

/** A disk whose reads fill memory of the server. */
function copyingDisk(): Disk {
  return new Disk({ size, device: { read: (_offset, length, alloc) => alloc(length).fill(1) } })
}

async function clients(served: Served, count: number): Promise<RawClient[]> {
  const made: RawClient[] = []
  for (let index = 0; index < count; index++) {
    const client = await served.connectSocket()
    await client.go()
    made.push(client)
  }
  return made
}

const read = { type: NBD_CMD_READ, offset: 0, length: payloadBytesMax }

/** Gives the server time to handle the bytes sent. */
async function turns(): Promise<void> {
  for (let count = 0; count < 50; count++) await turn()
}

describe('clients that ask for more than there is', () => {
  it('wait until others have taken what they asked for, and are answered then', async (t) => {
    const disk = copyingDisk()
    const served = serve(t, disk)
    const all = await clients(served, holders + 2)
    for (const { stream } of all) stream.pause()
    for (const client of all) client.sendRequest(read)
    await turns()
    // A small request needs no budget.
    const small = (await clients(served, 1))[0]
    const [answer] = (await small?.request({ type: NBD_CMD_READ, length: largeBytesMin - 1 })) ?? []
    assert.equal(answer?.error, 0)
    for (const { stream } of all) stream.resume()
    for (const client of all) assert.equal((await client.reply()).data.length, payloadBytesMax)
  })

  it('wait for no write whose bytes have not come, however many are announced', async (t) => {
    const disk = copyingDisk()
    const served = serve(t, disk)
    const [reading, ...others] = (await clients(served, 2 * holders + 1)) as [RawClient, ...RawClient[]]
    for (const client of others) client.send(encodeRequest({ type: NBD_CMD_WRITE, length: payloadBytesMax }))
    await turns()
    reading.sendRequest(read)
    assert.equal((await reading.reply()).data.length, payloadBytesMax)
    assert.deepEqual(disk.calls, [])
  })

  it('wait for a write that has come in part, and go on when its client leaves', async (t) => {
    const disk = copyingDisk()
    const served = serve(t, disk)
    const [waiting, ...others] = (await clients(served, holders + 1)) as [RawClient, ...RawClient[]]
    const part = new Uint8Array(payloadBytesMax - 1)
    for (const client of others) {
      client.send(encodeRequest({ type: NBD_CMD_WRITE, length: payloadBytesMax }))
      await new Promise<void>((resolve) => client.stream.write(part, () => resolve()))
    }
    await turns()
    waiting.sendRequest(read)
    await turns()
    assert.deepEqual(disk.calls, [])
    others[0]?.stream.destroy()
    assert.equal((await waiting.reply()).data.length, payloadBytesMax)
  })

  it('are refused while they wait, when the server stops', async (t) => {
    const served = serve(t, copyingDisk())
    const [waiting, ...others] = (await clients(served, holders + 1)) as [RawClient, ...RawClient[]]
    for (const { stream } of others) stream.pause()
    for (const client of others) client.sendRequest(read)
    await turns()
    waiting.sendRequest({ ...read, cookie: 3 })
    await turns()
    void served.server.shutdown({ graceMs: 5000 })
    const { cookie, error } = await waiting.reply()
    assert.deepEqual([cookie, error], [3, NBD_ESHUTDOWN])
    for (const { stream } of others) stream.destroy()
  })
})

/** Sends everything at once, and takes at once everything written to it. */
class Instant extends Duplex {
  takenBytes = 0

  constructor(sent: Uint8Array) {
    super()
    this.push(sent)
  }

  override _read() {}

  override _write(chunk: Uint8Array, _encoding: string, done: () => void) {
    this.takenBytes += chunk.length
    done()
  }
}

it('a client that itself holds all there is goes on when it has taken it', async () => {
  const go = infoData('')
  const option = Buffer.from('IHAVEOPT0000gggg')
  option.writeUInt32BE(NBD_OPT_GO, 8)
  option.writeUInt32BE(go.length, 12)
  const reads = Array.from({ length: holders + 1 }, () => encodeRequest(read))
  const stream = new Instant(Buffer.concat([Buffer.of(0, 0, 0, 3), option, go, ...reads]))
  await using server = createServer({ plugin: copyingDisk().plugin })
  await server.serve(stream)
  for (let count = 0; stream.takenBytes < reads.length * payloadBytesMax; count++) {
    assert.ok(count < 1000, `${stream.takenBytes} bytes came, and no more`)
    await turn()
  }
})

it('a client that holds memory and takes nothing is dropped, and the client that waited is answered', async (t) => {
  const served = serve(t, copyingDisk())
  const made = await clients(served, holders + 1)
  const [waiting, ...others] = made as [RawClient, ...RawClient[]]
  for (const client of others) {
    client.stream.pause()
    client.sendRequest(read)
  }
  await turns()
  t.mock.timers.enable({ apis: ['setInterval'] })
  const now = performance.now.bind(performance)
  let skewMs = 0
  t.mock.method(performance, 'now', () => now() + skewMs)
  waiting.sendRequest(read)
  await turns()
  skewMs = stallMs
  t.mock.timers.tick(stallMs)
  assert.equal((await waiting.reply()).data.length, payloadBytesMax)
  for (const { stream } of others) stream.resume()
  const rest = await Promise.race(others.map((client) => client.rest()))
  assert.ok(rest.length < payloadBytesMax)
})
