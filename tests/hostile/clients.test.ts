/** Clients that die, dribble, or do not read: what they cost has a limit, and what they opened is closed. */
import assert from 'node:assert/strict'
import { connect as connectTo } from 'node:net'
import { describe, test } from 'node:test'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import {
  batchBytesMax,
  inFlightAlways,
  inFlightMax,
  outputBytesMax,
  waitingBytes,
} from '../../src/connection/tuning.js'
import * as nbd from '../../src/protocol/constants.js'
import { encodeRequest, infoData, metaContextData, RawClient } from '../../src/testing/raw-client.js'
import { type Answers, Disk, type Served, serve } from '../../src/testing/served-disk.js'

const { NBD_CMD_READ: READ, NBD_CMD_WRITE: WRITE, NBD_CMD_FLUSH: FLUSH, NBD_CMD_BLOCK_STATUS: STATUS } = nbd
const KiB = 1024
const MiB = KiB * KiB

/** Time for everything that can happen without the test to happen. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await turn()
}

/** How many calls have reached the disk when no more come. */
async function callsOf({ calls }: Disk): Promise<number> {
  for (let before = -1; before < calls.length; ) {
    before = calls.length
    await settle()
  }
  return calls.length
}

/** Resolves when the server has forgotten all its clients. */
async function assertForgotten({ server }: Served, where = ''): Promise<void> {
  for (let turns = 0; server.connections.size > 0; turns++) {
    assert.ok(turns < 5000, `${where}: ${[...server.connections].map(({ state }) => state)} are still there`)
    await turn()
  }
}

function option(type: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.from(`49484156454f5054${'00'.repeat(8)}`, 'hex')
  header.writeUInt32BE(type, 8)
  header.writeUInt32BE(data.length, 12)
  return Buffer.concat([header, data])
}

/** All that a client may say, from its flags to its last request. */
const conversation = Buffer.concat([
  Buffer.from('00000003', 'hex'),
  option(nbd.NBD_OPT_STRUCTURED_REPLY),
  option(nbd.NBD_OPT_LIST),
  option(nbd.NBD_OPT_SET_META_CONTEXT, metaContextData('', ['base:allocation'])),
  option(nbd.NBD_OPT_INFO, infoData('other', [3])),
  option(nbd.NBD_OPT_GO, infoData('')),
  encodeRequest({ type: READ, cookie: 1, length: 512 }),
  encodeRequest({ type: WRITE, cookie: 2, length: 64, payload: Buffer.alloc(64, 2) }),
  encodeRequest({ type: STATUS, cookie: 3, length: 512 }),
  encodeRequest({ type: FLUSH, cookie: 4 }),
])

describe('a client that dies', () => {
  const deaths: [means: string, die: (client: RawClient) => void][] = [
    ['is gone', (client) => client.stream.destroy()],
    ['ends its side', (client) => client.stream.end()],
  ]
  for (const [means, die] of deaths)
    for (const answers of ['now', 'later'] as const)
      test(`after any byte of a conversation leaves nothing behind: it ${means}, the disk answers ${answers}`, async (t) => {
        const disk = new Disk({ answers })
        const served = serve(t, disk)
        for (let cut = 0; cut <= conversation.length; cut++) {
          const client = served.connect()
          client.send(conversation.subarray(0, cut))
          // Sometimes at once, sometimes when the server has seen it.
          for (let turns = 0; turns < cut % 4; turns++) await turn()
          die(client)
          await assertForgotten(served, `after ${cut} bytes`)
          assert.equal(disk.closed, disk.opened.length, `after ${cut} bytes`)
        }
        assert.equal((await served.connect().go()).size, 65536)
      })

  test('after any byte of a conversation leaves nothing behind: on a socket', async (t) => {
    const disk = new Disk({ answers: 'later' })
    const served = serve(t, disk)
    for (let cut = 0; cut <= conversation.length; cut += 7)
      for (const [means, die] of deaths) {
        const client = await served.connectSocket()
        client.send(conversation.subarray(0, cut))
        for (let turns = 0; turns < cut % 4; turns++) await turn()
        die(client)
        if (means === 'is gone') await client.closed
        else await client.rest()
        await assertForgotten(served, `after ${cut} bytes`)
        assert.equal(disk.closed, disk.opened.length, `after ${cut} bytes`)
      }
  })

  test('by a reset of TCP leaves nothing behind', async (t) => {
    const disk = new Disk({ answers: 'by hand' })
    const served = serve(t, disk)
    await served.server.listen({ port: 0, host: '127.0.0.1' })
    const [address] = served.server.addresses
    assert.ok(address && 'port' in address)
    for (const cut of [0, 30, 120, conversation.length - 100, conversation.length]) {
      const socket = connectTo(address.port, '127.0.0.1')
      const client = new RawClient(socket)
      await client.take(18)
      client.send(conversation.subarray(0, cut))
      await settle()
      socket.resetAndDestroy()
      for (let turns = 0; served.server.connections.size > 0 && turns < 5000; turns++) {
        disk.releaseAll()
        await turn()
      }
      assert.equal(served.server.connections.size, 0, `after ${cut} bytes`)
      assert.equal(disk.closed, disk.opened.length)
    }
  })

  test('while its export is opened has it closed when it is open', async (t) => {
    let opened = () => {}
    const waiting = new Promise<void>((resolve) => {
      opened = resolve
    })
    let closed = 0
    const open = async () => {
      await waiting
      return { size: 512, read: () => new Uint8Array(512), close: () => void closed++ }
    }
    const served = serve(t, new Disk({ plugin: { open } }))
    const client = served.connect()
    await client.greet()
    client.sendOption(nbd.NBD_OPT_GO, infoData(''))
    await settle()
    client.stream.destroy()
    await settle()
    assert.equal(closed, 0)
    opened()
    await assertForgotten(served)
    assert.equal(closed, 1)
  })

  test('with requests in flight has its device closed when the last of them has ended, and not before', async (t) => {
    const disk = new Disk({ answers: 'by hand' })
    const served = serve(t, disk)
    const client = served.connect()
    await client.go()
    for (let cookie = 0; cookie < 80; cookie++) client.sendRequest({ type: READ, cookie, length: 512 })
    await disk.holds(inFlightMax)
    client.stream.destroy()
    while (disk.held.length > 0) {
      await settle()
      assert.equal(disk.closed, 0)
      disk.release()
    }
    await assertForgotten(served)
    assert.equal(disk.closed, 1)
    assert.equal(
      disk.calls.length,
      inFlightMax,
      'requests that waited are not begun for a client that is gone',
    )
  })

  test('is no concern of the others, whose requests go on', async (t) => {
    const disk = new Disk({ answers: 'by hand' })
    const { connect } = serve(t, disk)
    const [dying, living] = [connect(), connect()]
    await dying.go()
    await living.go()
    dying.sendRequest({ type: READ, cookie: 1, length: 512 })
    living.sendRequest({ type: READ, cookie: 2, length: 512 })
    await disk.holds(2)
    dying.stream.destroy()
    disk.releaseAll()
    assert.equal((await living.reply()).cookie, 2)
  })

  test('after it has ended its side gets the answers to what it asked before', async (t) => {
    for (const kind of ['stream', 'socket'] as const) {
      const disk = new Disk({ answers: 'later' })
      const served = serve(t, disk)
      const client = kind === 'stream' ? served.connect() : await served.connectSocket()
      await client.go()
      for (let cookie = 0; cookie < 40; cookie++) client.sendRequest({ type: READ, cookie, length: 512 })
      client.stream.end()
      for (let cookie = 0; cookie < 40; cookie++) assert.equal((await client.reply()).error, 0)
      assert.equal((await client.rest()).length, 0)
      await assertForgotten(served)
    }
  })
})

describe('a client that does not read its replies', () => {
  /** What may be on its way: the output limit, a batch beyond it, and one more reply that began below it. */
  const bound = (reply: number) => outputBytesMax + 2 * batchBytesMax + 2 * reply
  const inFlightBytes = (reply: number) =>
    Math.min(inFlightMax * reply, Math.max(inFlightAlways * reply, waitingBytes + reply))

  for (const answers of ['now', 'later'] as const)
    for (const length of [4 * KiB, 64 * KiB, MiB])
      test(`stops its requests at a limit, and gets all when it reads: ${length} bytes, the disk answers ${answers}`, async (t) => {
        const disk = new Disk({ size: MiB, answers })
        const client = serve(t, disk).connect()
        await client.go()
        client.stream.pause()
        const count = Math.min(4000, Math.ceil((16 * MiB) / length))
        for (let cookie = 0; cookie < count; cookie++) client.sendRequest({ type: READ, cookie, length })
        const before = await callsOf(disk)
        // A disk that answers later may have as many in flight as are allowed when the limit is reached.
        const inFlight = answers === 'later' ? inFlightBytes(length) : 0
        assert.ok(before * length <= bound(length) + inFlight, `${before} reads of ${length} bytes`)
        await settle()
        assert.equal(disk.calls.length, before, 'the device is left in peace')
        client.stream.resume()
        for (let cookie = 0; cookie < count; cookie++) {
          const reply = await client.reply()
          assert.equal(reply.cookie, cookie)
          assert.equal(reply.data.length, length)
        }
        assert.equal(disk.calls.length, count)
      })

  test('stops its requests at a limit on a socket too, and gets all when it reads', async (t) => {
    const length = 64 * KiB
    const disk = new Disk({ size: MiB, answers: 'later' })
    const client = await serve(t, disk).connectSocket()
    await client.go()
    client.stream.pause()
    const count = 400
    for (let cookie = 0; cookie < count; cookie++) client.sendRequest({ type: READ, cookie, length })
    await sleep(20)
    const before = await callsOf(disk)
    // The system holds some, and the client's own stream.
    assert.ok(before * length <= bound(length) + inFlightBytes(length) + 2 * MiB, `${before} reads`)
    client.stream.resume()
    for (let cookie = 0; cookie < count; cookie++) assert.equal((await client.reply()).data.length, length)
    assert.equal(disk.calls.length, count)
  })

  test('is not received from any more, where what it sends is only refused', async (t) => {
    const client = serve(t, new Disk()).connect()
    await client.go({ structured: true })
    client.stream.pause()
    const flood = encodeRequest({ type: 77 })
    const count = 100_000
    for (let sent = 0; sent < 100; sent++) client.send(Buffer.alloc(1000 * flood.length, flood))
    await settle()
    assert.ok(client.stream.writableLength > 0, 'the server no longer takes what is sent')
    client.stream.resume()
    for (let replies = 0; replies < count; replies++)
      assert.equal((await client.reply()).error, nbd.NBD_EINVAL)
  })

  test('is not received from any more in the handshake', async (t) => {
    const exports = () =>
      Array.from({ length: 1000 }, (_, index) => ({ name: `${'n'.repeat(1000)}${index}` }))
    let listed = 0
    const counting = () => {
      listed++
      return exports()
    }
    const client = serve(t, new Disk({ plugin: { exports: counting } })).connect()
    await client.greet()
    client.stream.pause()
    for (let count = 0; count < 1000; count++) client.sendOption(nbd.NBD_OPT_LIST)
    await settle()
    // Each list is a megabyte.
    assert.ok(listed <= 5, `${listed} lists`)
    const before = listed
    await settle()
    assert.equal(listed, before)
    client.stream.resume()
    assert.equal((await client.optionReply()).type, nbd.NBD_REP_SERVER)
  })

  test('costs memory for what it may have on its way, and no more', async (t) => {
    const length = 256 * KiB
    // A disk that answers later fills memory of the server's; one that answers now lends its own.
    const disk = new Disk({ size: MiB, answers: 'later' })
    const { connect } = serve(t, disk)
    const before = process.memoryUsage()
    for (let index = 0; index < 10; index++) {
      const client = connect()
      await client.go()
      client.stream.pause()
      for (let cookie = 0; cookie < 500; cookie++) client.sendRequest({ type: READ, cookie, length })
    }
    const calls = await callsOf(disk)
    const after = process.memoryUsage()
    const grown = after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed
    // Ten clients asked for 1.25 GiB. Each may have a few MiB on its way, and 2 MiB in flight.
    assert.ok(calls <= (10 * (bound(length) + inFlightBytes(length))) / length, `${calls} calls`)
    assert.ok(grown < 200 * MiB, `${grown} bytes`)
  })

  test('and dies has its device closed', async (t) => {
    for (const answers of ['now', 'later'] satisfies Answers[]) {
      const disk = new Disk({ size: MiB, answers })
      const served = serve(t, disk)
      for (const client of [served.connect(), await served.connectSocket()]) {
        await client.go()
        client.stream.pause()
        for (let cookie = 0; cookie < 50; cookie++) client.sendRequest({ type: READ, cookie, length: MiB })
        await settle()
        client.stream.destroy()
      }
      await assertForgotten(served)
      assert.equal(disk.closed, 2)
    }
  })
})

describe('a client that takes its time', () => {
  /** Sends a byte, waits, sends the next, until the server has had enough. */
  async function dribble(client: RawClient, bytes: Buffer, everyMs: number): Promise<void> {
    const ended = client.rest().then(() => true)
    for (const byte of bytes) {
      client.send(Uint8Array.of(byte))
      if (await Promise.race([ended, sleep(everyMs, false)])) return
    }
    assert.ok(await ended)
  }

  test('is dropped when the handshake has taken too long, however busy it is', async (t) => {
    const disk = new Disk()
    const served = serve(t, disk, { handshakeTimeoutMs: 50 })
    await dribble(served.connect(), Buffer.concat(Array(1000).fill(option(99))).fill(0, 0, 4), 5)
    await assertForgotten(served)
    assert.deepEqual(served.errors, ['the handshake took longer than 50 ms'])
  })

  test('is dropped in every step of the handshake', async (t) => {
    const steps = [0, 2, 4, 10, 20, 30, 100]
    const disk = new Disk()
    const served = serve(t, disk, { handshakeTimeoutMs: 30 })
    const clients = [...steps.map(() => served.connect()), await served.connectSocket()]
    for (const [index, client] of clients.entries()) client.send(conversation.subarray(0, steps[index] ?? 0))
    await Promise.all(clients.map((client) => client.rest()))
    await assertForgotten(served)
    assert.equal(disk.closed, disk.opened.length)
  })

  test('is dropped while a layer takes its time to accept it or to open', async (t) => {
    for (const method of ['accept', 'open', 'exports', 'defaultExport'] as const) {
      let proceed = () => {}
      const waiting = new Promise<void>((resolve) => {
        proceed = resolve
      })
      const late = async () => {
        await waiting
        throw new Error('too late')
      }
      t.after(() => proceed())
      const served = serve(t, new Disk({ plugin: { [method]: late } }), { handshakeTimeoutMs: 30 })
      const client = served.connect()
      client.send(conversation)
      await client.rest()
      proceed()
      await assertForgotten(served, method)
    }
  })

  test('may take as long as it likes once the handshake is done', async (t) => {
    const { connect } = serve(t, new Disk(), { handshakeTimeoutMs: 60 })
    const client = connect()
    await client.go()
    await sleep(100)
    for (const byte of encodeRequest({ type: READ, cookie: 7, length: 0 })) {
      client.send(Uint8Array.of(byte))
      await turn()
    }
    assert.equal((await client.reply()).cookie, 7)
  })

  for (const handshakeTimeoutMs of [0, 2 ** 31, Number.POSITIVE_INFINITY])
    test(`is not hurried where the server has no limit, or a very long one: ${handshakeTimeoutMs} ms`, async (t) => {
      const { connect } = serve(t, new Disk(), { handshakeTimeoutMs })
      const client = connect()
      await client.greet()
      await sleep(60)
      assert.equal((await client.option(nbd.NBD_OPT_GO, infoData(''))).at(-1)?.type, nbd.NBD_REP_ACK)
    })
})
