import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { ConfigError } from '../api/errors.js'
import type { Concurrency } from '../api/plugin.js'
import { NBD_CMD_DISC as DISC, NBD_CMD_READ as READ, NBD_CMD_WRITE as WRITE } from '../protocol/constants.js'
import type { RawClient } from '../testing/raw-client.js'
import { Disk, type DiskOptions, serve } from '../testing/served-disk.js'
import { Gate } from './concurrency.js'
import { inFlightAlways, inFlightBytesMax, inFlightMax } from './tuning.js'

const MiB = 2 ** 20

/** Gives everything that can happen without the test time to happen. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await turn()
}

describe('a gate', () => {
  test('is full when as many are in as may be', () => {
    const gate = new Gate(2)
    assert.equal(gate.full, false)
    gate.enter()
    gate.enter()
    assert.equal(gate.full, true)
    gate.leave()
    assert.equal(gate.full, false)
  })

  test('wakes everybody who waited, in the order they came, once', () => {
    const gate = new Gate(1)
    const woken: string[] = []
    gate.enter()
    gate.whenFree(() => woken.push('a'))
    gate.whenFree(() => woken.push('b'))
    gate.leave()
    gate.enter()
    gate.leave()
    assert.deepEqual(woken, ['a', 'b'])
  })

  test('may be waited for again by who is woken', () => {
    const gate = new Gate(1)
    let woken = 0
    const again = () => {
      woken++
      if (woken < 3) gate.whenFree(again)
    }
    gate.whenFree(again)
    for (let count = 0; count < 5; count++) {
      gate.enter()
      gate.leave()
    }
    assert.equal(woken, 3)
  })

  test('runs work when there is room, one after the other, and gives what it gave', async () => {
    const gate = new Gate(1)
    const events: string[] = []
    const work = (name: string) =>
      gate.run(async () => {
        events.push(`${name} begins`)
        await turn()
        events.push(`${name} ends`)
        return name
      })
    assert.deepEqual(await Promise.all([work('a'), work('b'), work('c')]), ['a', 'b', 'c'])
    assert.deepEqual(events, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
  })

  test('makes room where work fails', async () => {
    const gate = new Gate(1)
    const failing = () => {
      throw new Error('no')
    }
    await assert.rejects(gate.run(failing), new Error('no'))
    await assert.rejects(
      gate.run(() => Promise.reject(new Error('no'))),
      new Error('no'),
    )
    assert.equal(gate.full, false)
  })
})

/** Sends reads of 16 bytes, each with its number as the cookie and 16 times that as the offset. */
function sendReads(client: RawClient, count: number, from = 0): void {
  for (let cookie = from; cookie < from + count; cookie++)
    client.sendRequest({ type: READ, cookie, offset: 16 * cookie, length: 16 })
}

describe('requests in flight', () => {
  for (const kind of ['stream', 'socket'] as const) {
    test(`are 64 at most, and none of the others is lost: ${kind}`, async (t) => {
      const disk = new Disk({ answers: 'by hand' })
      const served = serve(t, disk)
      const client = kind === 'stream' ? served.connect() : await served.connectSocket()
      await client.go()
      sendReads(client, 100)
      await disk.holds(inFlightMax)
      await settle()
      assert.equal(disk.held.length, inFlightMax)
      for (let cookie = 0; cookie < 100; cookie++) {
        disk.release()
        assert.equal((await client.reply()).cookie, cookie)
        await disk.holds(Math.min(inFlightMax, 99 - cookie))
        assert.ok(disk.held.length <= inFlightMax)
      }
      assert.equal(disk.calls.length, 100)
    })

    test(`are 16 at most where they are long, unless the user gives a number: ${kind}`, async (t) => {
      for (const threads of [undefined, 40]) {
        const disk = new Disk({ answers: 'by hand', size: MiB })
        const served = serve(t, disk, threads === undefined ? {} : { threads })
        const client = kind === 'stream' ? served.connect() : await served.connectSocket()
        await client.go()
        const length = MiB / 8
        for (let cookie = 0; cookie < 50; cookie++) client.sendRequest({ type: READ, cookie, length })
        await disk.holds(threads ?? inFlightAlways)
        await settle()
        assert.equal(disk.held.length, threads ?? inFlightAlways)
        disk.releaseAll()
      }
    })

    test(`that wait in the middle of a payload go on there: ${kind}`, async (t) => {
      const disk = new Disk({ answers: 'by hand', size: 4 * MiB })
      const served = serve(t, disk, { threads: 1 })
      const client = kind === 'stream' ? served.connect() : await served.connectSocket()
      await client.go()
      const payloads = [10, 100_000, 20, 70_000, 30].map((length, index) => Buffer.alloc(length, index + 1))
      for (const [cookie, payload] of payloads.entries())
        client.sendRequest({ type: WRITE, cookie, offset: cookie * 200_000, length: payload.length, payload })
      for (const [cookie, payload] of payloads.entries()) {
        await disk.holds(1)
        await settle()
        assert.equal(disk.held.length, 1)
        disk.release()
        assert.equal((await client.reply()).cookie, cookie)
        const at = cookie * 200_000
        assert.ok(disk.bytes.subarray(at, at + payload.length).equals(payload), `write ${cookie}`)
      }
    })
  }

  test('are as many as the server is told', async (t) => {
    for (const threads of [1, 3, 40]) {
      const disk = new Disk({ answers: 'by hand' })
      const client = serve(t, disk, { threads }).connect()
      await client.go()
      sendReads(client, 50)
      await disk.holds(threads)
      await settle()
      assert.equal(disk.held.length, threads)
    }
  })

  for (const threads of [0, -1, 0.5, Number.NaN])
    test(`cannot be ${threads} at most: nothing would ever be done`, (t) => {
      const refused = async () => serve(t, new Disk(), { threads }).server.ready()
      return assert.rejects(refused, ConfigError)
    })

  test('are counted for each connection by itself', async (t) => {
    const disk = new Disk({ answers: 'by hand' })
    const { connect } = serve(t, disk, { threads: 2 })
    for (const client of [connect(), connect(), connect()]) {
      await client.go()
      sendReads(client, 5)
    }
    await disk.holds(6)
    await settle()
    assert.equal(disk.held.length, 6)
  })

  test('do not count those that their device answers at once', async (t) => {
    const disk = new Disk()
    const client = serve(t, disk, { threads: 1 }).connect()
    await client.go()
    sendReads(client, 50)
    for (let cookie = 0; cookie < 50; cookie++) assert.equal((await client.reply()).cookie, cookie)
  })

  test('are answered in the order in which the device is done with them', async (t) => {
    const disk = new Disk({ answers: 'by hand' })
    const client = serve(t, disk).connect()
    await client.go()
    sendReads(client, 4)
    await disk.holds(4)
    const order = [2, 0, 3, 1]
    for (const index of order) {
      disk.held[index]?.release()
      const { cookie, data } = await client.reply()
      assert.equal(cookie, index)
      assert.ok(data.equals(disk.bytes.subarray(16 * index, 16 * index + 16)))
    }
    disk.held.length = 0
  })

  test('read 64 MiB at most between them, and one of the longest is always let in', async (t) => {
    // The reads need no memory: the disk never answers before the test ends.
    let ended = false
    const read = () =>
      new Promise<Uint8Array>((resolve) => {
        const answer = () => resolve(new Uint8Array(0))
        if (ended) answer()
        else waiting.push(answer)
      })
    const waiting: (() => void)[] = []
    t.after(() => {
      ended = true
      for (const answer of waiting) answer()
    })
    const client = serve(t, new Disk({ device: { size: 2 ** 40, read } })).connect()
    await client.go()
    for (let cookie = 0; cookie < 10; cookie++) client.sendRequest({ type: READ, cookie, length: 20 * MiB })
    await settle()
    assert.equal(waiting.length, Math.ceil(inFlightBytesMax / (20 * MiB)))
    // A server of its own, where no other client holds memory.
    const other = serve(t, new Disk({ device: { size: 2 ** 40, read } })).connect()
    await other.go()
    other.sendRequest({ type: READ, length: inFlightBytesMax })
    other.sendRequest({ type: READ, length: 1 })
    await settle()
    assert.equal(waiting.length, Math.ceil(inFlightBytesMax / (20 * MiB)) + 1)
  })

  test('are answered before the connection is closed after DISC', async (t) => {
    const disk = new Disk({ answers: 'by hand' })
    const client = serve(t, disk).connect()
    await client.go()
    sendReads(client, 20)
    client.sendRequest({ type: DISC, cookie: 99 })
    for (let cookie = 0; cookie < 20; cookie++) {
      await disk.holds(1)
      disk.release()
      assert.equal((await client.reply()).cookie, cookie)
    }
    assert.equal((await client.rest()).length, 0)
  })
})

/** Records the calls that reach a disk, as begins and ends. */
function watched(concurrency: Concurrency, more: DiskOptions = {}) {
  const events: string[] = []
  const disk = new Disk({
    plugin: { concurrency },
    device: {
      async read(offset, length) {
        events.push(`${offset} begins`)
        await turn()
        await turn()
        events.push(`${offset} ends`)
        return new Uint8Array(length)
      },
    },
    ...more,
  })
  return { events, disk }
}

/** Begins and ends alternate: never two calls at once. */
function assertOneAtATime(events: readonly string[]): void {
  for (let at = 0; at < events.length; at += 2)
    assert.equal(events[at + 1], events[at]?.replace('begins', 'ends'), events.join(', '))
}

describe('a disk that wants one request of each connection at a time', () => {
  test('gets them one after the other, in order', async (t) => {
    const { events, disk } = watched('serialize-requests')
    const client = serve(t, disk).connect()
    await client.go()
    sendReads(client, 30)
    for (let cookie = 0; cookie < 30; cookie++) assert.equal((await client.reply()).cookie, cookie)
    assertOneAtATime(events)
  })

  test('gets those of two connections at once', async (t) => {
    const disk = new Disk({ answers: 'by hand', plugin: { concurrency: 'serialize-requests' } })
    const { connect } = serve(t, disk)
    for (const client of [connect(), connect()]) {
      await client.go()
      sendReads(client, 3)
    }
    await disk.holds(2)
    await settle()
    assert.equal(disk.held.length, 2)
  })
})

describe('a disk that wants one request at a time', () => {
  for (const kind of ['stream', 'socket'] as const)
    test(`gets those of three connections one after the other, and loses none: ${kind}`, async (t) => {
      const { events, disk } = watched('serialize-all-requests')
      const served = serve(t, disk)
      const clients: RawClient[] = []
      for (let count = 0; count < 3; count++)
        clients.push(kind === 'stream' ? served.connect() : await served.connectSocket())
      for (const client of clients) await client.go()
      for (const [index, client] of clients.entries()) sendReads(client, 20, 100 * index)
      const seen = await Promise.all(
        clients.map(async (client) => {
          const cookies: number[] = []
          for (let count = 0; count < 20; count++) cookies.push((await client.reply()).cookie)
          return cookies
        }),
      )
      for (const [index, cookies] of seen.entries())
        assert.deepEqual(
          cookies,
          Array.from({ length: 20 }, (_, cookie) => 100 * index + cookie),
        )
      assert.equal(events.length, 120)
      assertOneAtATime(events)
    })

  test('is not opened for one client while it works for another', async (t) => {
    const disk = new Disk({ answers: 'by hand', plugin: { concurrency: 'serialize-all-requests' } })
    const { connect } = serve(t, disk)
    const first = connect()
    await first.go()
    sendReads(first, 1)
    await disk.holds(1)
    const second = connect().go()
    await settle()
    assert.equal(disk.opened.length, 1)
    disk.release()
    await second
    assert.equal(disk.opened.length, 2)
  })

  test('goes on with one client when another dies in the middle of a request', async (t) => {
    const disk = new Disk({ answers: 'by hand', plugin: { concurrency: 'serialize-all-requests' } })
    const { connect } = serve(t, disk)
    const [dying, living] = [connect(), connect()]
    await dying.go()
    await living.go()
    sendReads(dying, 5)
    await disk.holds(1)
    sendReads(living, 2)
    await settle()
    assert.equal(disk.held.length, 1)
    dying.stream.destroy()
    await settle()
    assert.equal(disk.held.length, 1, 'the request of the dead client still runs')
    disk.release()
    for (const cookie of [0, 1]) {
      await disk.holds(1)
      disk.release()
      assert.equal((await living.reply()).cookie, cookie)
    }
    assert.equal(disk.calls.length, 3)
  })
})

describe('a disk that wants one connection at a time', () => {
  test('sees the second client when the first is gone and its device closed', async (t) => {
    const disk = new Disk({ plugin: { concurrency: 'serialize-connections' } })
    const { connect } = serve(t, disk)
    const first = connect()
    await first.go()
    const second = connect()
    const waiting = second.go()
    await settle()
    assert.equal(disk.opened.length, 1)
    first.sendRequest({ type: DISC })
    await waiting
    assert.deepEqual([disk.opened.length, disk.closed], [2, 1])
    sendReads(second, 1)
    assert.equal((await second.reply()).error, 0)
  })

  for (const kind of ['stream', 'socket'] as const)
    test(`is not kept waiting by a client that died while it waited itself: ${kind}`, async (t) => {
      const disk = new Disk({ plugin: { concurrency: 'serialize-connections' } })
      const served = serve(t, disk)
      const connect = async () => (kind === 'stream' ? served.connect() : served.connectSocket())
      const first = await connect()
      await first.go()
      const second = await connect()
      const third = await connect()
      await settle()
      second.stream.destroy()
      await settle()
      first.stream.destroy()
      await third.go()
      assert.equal(disk.opened.length, 2)
    })

  test('gets its requests one after the other', async (t) => {
    const { events, disk } = watched('serialize-connections')
    const client = serve(t, disk).connect()
    await client.go()
    sendReads(client, 10)
    for (let cookie = 0; cookie < 10; cookie++) assert.equal((await client.reply()).cookie, cookie)
    assertOneAtATime(events)
  })
})
