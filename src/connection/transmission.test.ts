/** The transmission phase of a connection: batches of replies, turns, and the end. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { NBD_CMD_DISC, NBD_CMD_READ, NBD_CMD_WRITE, NBD_ESHUTDOWN } from '../protocol/constants.js'
import { encodeRequest, type RawClient } from '../testing/raw-client.js'
import { Disk, serve } from '../testing/served-disk.js'
import { until } from '../testing/until.js'
import { inFlightMax } from './tuning.js'

const KiB = 1024

/** Sends `count` READs of 512 bytes in one chunk. */
function sendReads(client: RawClient, count: number): void {
  const requests = Array.from({ length: count }, (_, cookie) => ({
    ...{ type: NBD_CMD_READ, cookie, offset: 512 * (cookie % 128), length: 512 },
  }))
  client.expectReplies(requests)
  client.send(Buffer.concat(requests.map((request) => encodeRequest(request))))
}

/** The cookies of `count` replies, in the order of arrival. Each has no error. */
async function cookies(client: RawClient, count: number): Promise<number[]> {
  const arrived: number[] = []
  for (let replies = 0; replies < count; replies++) {
    const { cookie, error } = await client.reply()
    assert.equal(error, 0)
    arrived.push(Number(cookie))
  }
  return arrived
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)

describe('requests that arrive together', () => {
  it('are answered with one chunk of replies where the device answers at once', async (t) => {
    const client = serve(t, new Disk()).connect()
    await client.go()
    const chunks: number[] = []
    client.stream.on('data', (chunk: Buffer) => chunks.push(chunk.length))
    sendReads(client, 20)
    assert.deepEqual(await cookies(client, 20), upTo(20))
    assert.deepEqual(chunks, [20 * (16 + 512)])
  })

  it('are all answered, beyond the number that may be in flight', async (t) => {
    const client = await serve(t, new Disk({ answers: 'later' })).connectSocket()
    await client.go()
    const count = 5 * inFlightMax + 3
    sendReads(client, count)
    const arrived = await cookies(client, count)
    assert.deepEqual(
      arrived.toSorted((a, b) => a - b),
      upTo(count),
    )
  })

  it('reach the device only while fewer are in flight than may be', async (t) => {
    const disk = new Disk({ answers: 'by hand' })
    const client = await serve(t, disk, { threads: 2 }).connectSocket()
    await client.go()
    sendReads(client, 4)
    await disk.holds(2)
    assert.equal(disk.calls.length, 2)
    disk.release()
    await disk.holds(2)
    assert.equal(disk.calls.length, 3)
    disk.releaseAll()
    await disk.holds(1)
    disk.releaseAll()
    assert.deepEqual(await cookies(client, 4), upTo(4))
  })
})

describe('the totals of a connection', () => {
  it('count requests and the bytes of reads and writes', async (t) => {
    const served = serve(t, new Disk())
    const client = served.connect()
    await client.go()
    await client.request({ type: NBD_CMD_WRITE, length: 4 * KiB, payload: Buffer.alloc(4 * KiB) })
    await client.request({ type: NBD_CMD_READ, length: 3 * KiB })
    const [connection] = served.server.connections
    assert.deepEqual(
      [connection?.requests, connection?.bytesRead, connection?.bytesWritten],
      [2, 3 * KiB, 4 * KiB],
    )
  })
})

describe('a phase that ends', () => {
  it('by DISC answers the requests before it, and none behind it', async (t) => {
    const client = serve(t, new Disk({ answers: 'later' })).connect()
    await client.go()
    const read = { type: NBD_CMD_READ, cookie: 1, length: 512 }
    client.send(Buffer.concat([read, { type: NBD_CMD_DISC }, read].map((request) => encodeRequest(request))))
    assert.equal((await client.rest()).length, 16 + 512)
  })

  it('softly refuses requests that have reached no device', async (t) => {
    const disk = new Disk({ answers: 'by hand' })
    const { server, connect } = serve(t, disk, { threads: 1 })
    const client = connect()
    await client.go()
    sendReads(client, 3)
    await disk.holds(1)
    assert.equal([...server.connections][0]?.disconnect(false), true)
    disk.releaseAll()
    const replies = [await client.reply(), await client.reply(), await client.reply()]
    const errors = replies.toSorted((a, b) => Number(a.cookie) - Number(b.cookie)).map(({ error }) => error)
    assert.deepEqual(errors, [0, NBD_ESHUTDOWN, NBD_ESHUTDOWN])
    assert.equal(disk.calls.length, 1)
  })

  it('by force sends nothing more, and closes the device when its calls have settled', async (t) => {
    const disk = new Disk({ answers: 'by hand' })
    const { server, connect } = serve(t, disk)
    const client = connect()
    await client.go()
    sendReads(client, 2)
    await disk.holds(2)
    for (const connection of server.connections) connection.disconnect(true)
    assert.equal((await client.rest()).length, 0)
    assert.equal(disk.closed, 0)
    disk.releaseAll()
    await until(() => disk.closed === 1)
  })
})
