import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { Duplex, PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { NBD_CMD_READ, NBD_CMD_WRITE, NBD_ESHUTDOWN, NBD_OPT_GO } from '../protocol/constants.js'
import { budgetBytes, largeBytesMin, payloadBytesMax, stallMs } from '../protocol/limits.js'
import { createServer } from '../server/server.js'
import { encodeRequest, infoData, type RawClient } from '../testing/raw-client.js'
import { Disk, type Served, serve } from '../testing/served-disk.js'
import { MemoryBudget, MemoryShare } from './memory-budget.js'

const share = (budget: MemoryBudget) => new MemoryShare(budget, new PassThrough(), () => {})

describe('a memory budget', () => {
  it('is shared by all, and calls who waits when some of it is given back', () => {
    const budget = new MemoryBudget()
    const [first, second] = [share(budget), share(budget)]
    assert.ok(first.reserve(budgetBytes - 1))
    assert.equal(second.reserve(2), false)
    assert.ok(second.reserve(1))
    let called = 0
    second.whenReleased(() => called++)
    assert.equal(budget.wanted, true)
    first.release(1)
    assert.deepEqual([called, budget.wanted], [1, false])
    assert.ok(second.reserve(1))
  })

  it('always lets one request in, and gives back all of a connection that ends, once', () => {
    const budget = new MemoryBudget()
    const [first, second] = [share(budget), share(budget)]
    assert.ok(first.reserve(budgetBytes + 1))
    assert.equal(second.reserve(1), false)
    first.end()
    // Its requests end later, and give back what has been given back.
    first.release(budgetBytes + 1)
    assert.ok(second.reserve(budgetBytes))
    assert.equal(first.reserve(1), false)
  })
})

const size = payloadBytesMax + 4096
/** So many of the longest requests take all there is. */
const holders = budgetBytes / payloadBytesMax

/** A disk whose reads fill memory of the server's. */
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

/** Lets the server look at what was sent. */
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
    // What is small needs no memory.
    const small = (await clients(served, 1))[0]
    const [answer] = (await small?.request({ type: NBD_CMD_READ, length: largeBytesMin - 1 })) ?? []
    assert.equal(answer?.error, 0)
    for (const { stream } of all) stream.resume()
    for (const client of all) assert.equal((await client.reply()).data.length, payloadBytesMax)
  })

  it('wait for a write that is still to come, too, and go on when its client leaves', async (t) => {
    const disk = copyingDisk()
    const served = serve(t, disk)
    const [waiting, ...others] = (await clients(served, holders + 1)) as [RawClient, ...RawClient[]]
    for (const client of others) client.send(encodeRequest({ type: NBD_CMD_WRITE, length: payloadBytesMax }))
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

/** Sends all at once, and takes at once what is written to it. */
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

describe('a client that holds memory and takes nothing', () => {
  for (const wanted of [true, false])
    it(`is ${wanted ? '' : 'not '}dropped after a while, when ${wanted ? 'others wait' : 'nobody waits'} for it`, () => {
      const budget = new MemoryBudget()
      const stream = new PassThrough()
      let stalled = 0
      const holder = new MemoryShare(budget, stream, () => stalled++)
      holder.reserve(budgetBytes)
      if (wanted) share(budget).whenReleased(() => {})
      stream.emit('timeout')
      assert.equal(stalled, wanted ? 1 : 0)
    })

  it('is watched by the clock of its socket only while it holds some', async (t) => {
    const [client] = (await clients(serve(t, copyingDisk()), 1)) as [RawClient]
    const timeouts: number[] = []
    t.mock.method(Socket.prototype, 'setTimeout', (ms: number) => void timeouts.push(ms))
    await client.request({ type: NBD_CMD_READ, length: largeBytesMin - 1 })
    assert.deepEqual(timeouts, [])
    await client.request({ type: NBD_CMD_READ, length: largeBytesMin })
    await turns()
    assert.deepEqual(timeouts, [stallMs, 0])
  })

  it('is dropped while its answers wait for it, and those who waited are answered', async (t) => {
    const made = await clients(serve(t, copyingDisk()), holders + 1)
    const [waiting, ...others] = made as [RawClient, ...RawClient[]]
    const sockets: Socket[] = []
    t.mock.method(Socket.prototype, 'setTimeout', function (this: Socket) {
      sockets.push(this)
    })
    for (const client of others) {
      client.stream.pause()
      client.sendRequest(read)
    }
    await turns()
    waiting.sendRequest(read)
    await turns()
    sockets[0]?.emit('timeout')
    assert.equal((await waiting.reply()).data.length, payloadBytesMax)
    for (const { stream } of others) stream.resume()
    // Whichever asked first: its connection has ended in the midst of an answer.
    const rest = await Promise.race(others.map((client) => client.rest()))
    assert.ok(rest.length < payloadBytesMax)
  })
})
