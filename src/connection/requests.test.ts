import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { DeviceInit } from '../api/device.js'
import { zeroes } from '../api/zeroes.js'
import * as nbd from '../protocol/constants.js'
import { everySplit } from '../testing/every-split.js'
import { seeded } from '../testing/random.js'
import { encodeRequest, type RawClient, type RawRequest } from '../testing/raw-client.js'
import { type Answers, Disk, patterned, type Served, serve } from '../testing/served-disk.js'
import { receiveBytes, receiveIntoPlaceBytes } from './tuning.js'

const KiB = 1024
const { NBD_CMD_READ: READ, NBD_CMD_WRITE: WRITE, NBD_CMD_TRIM: TRIM } = nbd
const { NBD_CMD_FLUSH: FLUSH, NBD_CMD_CACHE: CACHE, NBD_CMD_WRITE_ZEROES: ZERO } = nbd
const { NBD_CMD_BLOCK_STATUS: STATUS, NBD_CMD_DISC: DISC } = nbd

type Mode = 'simple' | 'structured' | 'extended'
const modes: readonly Mode[] = ['simple', 'structured', 'extended']

async function negotiate(client: RawClient, mode: Mode): Promise<RawClient> {
  const contexts = mode === 'simple' ? [] : ['base:allocation']
  await client.go({ structured: mode === 'structured', extended: mode === 'extended', contexts })
  return client
}

/**
 * Twenty requests of every kind, good and bad, then DISC. The order in which the requests are answered
 * changes no reply, because no request reads what another writes.
 */
function script(mode: Mode): Buffer {
  const tells = mode === 'extended' ? nbd.NBD_CMD_FLAG_PAYLOAD_LEN : 0
  const write = (offset: number, payload: Uint8Array, flags = 0): RawRequest => ({
    ...{ type: WRITE, offset, length: payload.length, payload, flags: flags | tells },
  })
  const unknown: RawRequest =
    mode === 'extended'
      ? { type: 77, flags: tells, length: 5, payload: Buffer.from('wrong') }
      : { type: 77, length: 5 }
  const status: RawRequest =
    mode === 'extended'
      ? { type: STATUS, flags: tells, length: 12, payload: Buffer.from('000000000000020000000001', 'hex') }
      : { type: STATUS, flags: nbd.NBD_CMD_FLAG_REQ_ONE, length: 512 }
  const requests: RawRequest[] = [
    { type: READ, offset: 0, length: 40 },
    write(512, Buffer.from('written')),
    { type: READ, offset: 40, length: 1 },
    { type: READ, offset: 65536, length: 1 },
    write(65530, Buffer.from('beyond the end')),
    write(600, Buffer.from('!'), nbd.NBD_CMD_FLAG_FUA),
    { type: FLUSH },
    unknown,
    { type: TRIM, offset: 1024, length: 512 },
    { type: CACHE, length: 4096 },
    { type: ZERO, offset: 2048, length: 1000, flags: nbd.NBD_CMD_FLAG_NO_HOLE },
    { type: ZERO, offset: 65000, length: 1000 },
    { type: READ, length: 0 },
    write(5, Buffer.alloc(0)),
    status,
    { type: READ, offset: 2n ** 63n, length: 1 },
    write(4096, Buffer.alloc(100, 'w')),
    { type: READ, offset: 8, length: 8, flags: nbd.NBD_CMD_FLAG_DF },
    { type: FLUSH, length: 1 },
    { type: READ, offset: 65535, length: 1 },
  ]
  const all = requests.map((request, index) => ({ ...request, cookie: index + 1 }))
  return Buffer.concat([...all, { type: DISC }].map((request) => encodeRequest(request, mode === 'extended')))
}

/** Replies by cookie, each in hex, in any order of arrival. */
function byCookie(bytes: Buffer, mode: Mode): string[] {
  const replies: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const simple = bytes.readUInt32BE(at) === nbd.NBD_SIMPLE_REPLY_MAGIC
    const cookie = Number(bytes.readBigUInt64BE(at + 8))
    const data =
      mode === 'simple' && bytes.readUInt32BE(at + 4) === 0 ? ({ 1: 40, 3: 1, 20: 1 }[cookie] ?? 0) : 0
    const length = simple
      ? 16 + data
      : mode === 'extended'
        ? 32 + Number(bytes.readBigUInt64BE(at + 24))
        : 20 + bytes.readUInt32BE(at + 16)
    replies[cookie] = (replies[cookie] ?? '') + bytes.toString('hex', at, at + length)
    at += length
  }
  return replies
}

describe('twenty requests', () => {
  /** The error of each reply in simple mode; 0 for success. */
  const errors = [0, 0, 0, 22, 28, 0, 0, 22, 0, 0, 0, 28, 22, 22, 22, 22, 0, 22, 22, 0]

  test('are answered as they should be', async (t) => {
    const disk = new Disk()
    const client = await negotiate(serve(t, disk).connect(), 'simple')
    client.send(script('simple'))
    const replies = byCookie(await client.rest(), 'simple')
    assert.deepEqual(
      replies.slice(1).map((hex) => Number.parseInt(hex.slice(8, 16), 16)),
      errors,
    )
    assert.equal(replies[1]?.slice(32), patterned(40).toString('hex'))
    assert.equal(disk.bytes.toString('latin1', 512, 519), 'written')
    assert.equal(disk.bytes.toString('latin1', 600, 601), '!')
    assert.ok(disk.bytes.subarray(1024, 1536).every((byte) => byte === 0))
    assert.ok(disk.bytes.subarray(2048, 3048).every((byte) => byte === 0))
    assert.ok(disk.bytes.subarray(4096, 4196).every((byte) => byte === 0x77))
    assert.deepEqual(disk.calls, [
      ...['read 40 at 0', 'write 7 at 512', 'read 1 at 40', 'write 1 at 600', 'flush', 'flush'],
      ...['trim 512 at 1024', 'cache 4096 at 0', 'zero 1000 at 2048', 'write 100 at 4096', 'read 1 at 65535'],
    ])
  })

  const runs: [Mode, Answers][] = [
    ...modes.map((mode): [Mode, Answers] => [mode, 'now']),
    ['extended', 'later'],
  ]
  for (const [mode, answers] of runs)
    test(`give the same replies however their bytes come: ${mode}, from a disk that answers ${answers}`, async (t) => {
      const bytes = script(mode)
      const fresh = patterned(65536)
      const disk = new Disk({ answers })
      const served = serve(t, disk)
      const run = async (pieces: readonly Uint8Array[]) => {
        disk.bytes.set(fresh)
        disk.calls.length = 0
        const client = await negotiate(served.connect(), mode)
        for (const piece of pieces) client.send(piece)
        const replies = await client.rest()
        // An async device may get a flush before or after a request that was sent behind a write.
        return { replies, calls: answers === 'now' ? [...disk.calls] : [...disk.calls].sort() }
      }
      const whole = await run([bytes])
      const written = Buffer.from(disk.bytes)
      assert.equal(byCookie(whole.replies, mode).length, 21)
      for (const pieces of everySplit(bytes)) {
        const cut = await run(pieces)
        const where = `cut after ${pieces[0]?.length} bytes`
        // A refusal may overtake an async disk.
        if (answers === 'now') assert.ok(cut.replies.equals(whole.replies), where)
        else assert.deepEqual(byCookie(cut.replies, mode), byCookie(whole.replies, mode), where)
        assert.deepEqual(cut.calls, whole.calls, where)
        assert.ok(disk.bytes.equals(written), where)
      }
    })

  for (const mode of modes)
    test(`give the same replies over a socket: ${mode}`, async (t) => {
      const served = serve(t, new Disk({ answers: 'later' }))
      const bytes = script(mode)
      const run = async (cut: number) => {
        const client = await negotiate(await served.connectSocket(), mode)
        client.send(bytes.subarray(0, cut))
        // Lets the first piece arrive alone. If it does not, the test still holds but says less.
        for (let turns = 0; turns < 5; turns++) await turn()
        client.send(bytes.subarray(cut))
        return byCookie(await client.rest(), mode)
      }
      const whole = await run(bytes.length)
      for (let cut = 1; cut < bytes.length; cut += 23)
        assert.deepEqual(await run(cut), whole, `cut after ${cut}`)
    })
})

/** Sends writes of these lengths together, then reads back to check that each byte is where it should be. */
async function writeAndRead(served: Served, client: RawClient, disk: Disk, lengths: readonly number[]) {
  const expected = Buffer.from(disk.bytes)
  const sent: Buffer[] = []
  let offset = 1
  for (const [cookie, length] of lengths.entries()) {
    const payload = patterned(length).map((byte) => byte ^ (cookie + 1))
    expected.set(payload, offset)
    sent.push(encodeRequest({ type: WRITE, cookie, offset, length, payload }, client.extended))
    offset += length + 3
  }
  client.send(Buffer.concat(sent))
  for (let count = 0; count < lengths.length; count++) assert.equal((await client.reply()).error, 0)
  assert.ok(disk.bytes.equals(expected), `lengths ${lengths}`)
  assert.deepEqual(served.errors, [])
}

describe('large writes', () => {
  const threshold = receiveIntoPlaceBytes
  const header = 28
  const lists: readonly (readonly number[])[] = [
    [threshold - 1],
    [threshold],
    [threshold + 1],
    [receiveBytes - header],
    [receiveBytes],
    [receiveBytes + 1],
    [receiveBytes - header + threshold - 1],
    [receiveBytes - header + threshold],
    [receiveBytes - header + threshold + 1],
    [200 * KiB, 1, 200 * KiB, 2, 3],
    [1, receiveBytes - 1, 1, 2 * receiveBytes, threshold],
    [500 * KiB],
    Array(40).fill(20_000),
  ]
  const size = 1024 * KiB

  for (const answers of ['now', 'later'] as const) {
    test(`arrive whole over a socket, at a disk that answers ${answers}`, async (t) => {
      const disk = new Disk({ size, answers })
      const served = serve(t, disk)
      for (const mode of ['simple', 'extended'] as const) {
        const client = await negotiate(await served.connectSocket(), mode)
        for (const lengths of lists) await writeAndRead(served, client, disk, lengths)
      }
    })

    test(`arrive whole over a stream, at a disk that answers ${answers}`, async (t) => {
      const disk = new Disk({ size, answers })
      const served = serve(t, disk)
      const client = await negotiate(served.connect(), 'structured')
      for (const lengths of lists) await writeAndRead(served, client, disk, lengths)
    })
  }

  test('arrive whole from four sockets at once', async (t) => {
    const disks = new Disk({ size: 4 * size, answers: 'later' })
    const served = serve(t, disks)
    const clients = await Promise.all(Array.from({ length: 4 }, () => served.connectSocket()))
    await Promise.all(
      clients.map(async (client, index) => {
        await negotiate(client, 'simple')
        for (let round = 0; round < 8; round++) {
          const payload = patterned(300 * KiB).map((byte) => byte ^ (16 * index + round))
          const offset = index * size + round * 1000
          await client.request({ type: WRITE, offset, length: payload.length, payload })
          const [reply] = await client.request({ type: READ, offset, length: payload.length })
          assert.ok(reply?.data.equals(payload))
        }
      }),
    )
  })

  test('in pieces of any length, between small requests, arrive whole over a socket', async (t) => {
    const random = seeded(4)
    const disk = new Disk({ size, answers: 'later' })
    const served = serve(t, disk)
    const client = await negotiate(await served.connectSocket(), 'simple')
    for (let round = 0; round < 6; round++) {
      const lengths = Array.from({ length: 12 }, () => 1 + random.below(random.chance(0.5) ? 100 : 70 * KiB))
      const sent: Buffer[] = []
      const expected = Buffer.from(disk.bytes)
      let offset = random.below(1000)
      for (const [cookie, length] of lengths.entries()) {
        const payload = patterned(length).map((byte) => byte ^ (round + cookie))
        expected.set(payload, offset)
        sent.push(encodeRequest({ type: WRITE, cookie, offset, length, payload }))
        offset += length
      }
      const bytes = Buffer.concat(sent)
      for (let at = 0; at < bytes.length; ) {
        const end = at + 1 + random.below(100_000)
        client.send(bytes.subarray(at, end))
        at = end
        if (random.chance(0.5)) await turn()
      }
      for (let count = 0; count < lengths.length; count++) assert.equal((await client.reply()).error, 0)
      assert.ok(disk.bytes.equals(expected), `seed 4, round ${round}`)
    }
  })

  for (const kind of ['stream', 'socket'] as const)
    test(`that wait for the device are not overwritten by what comes behind them: ${kind}`, async (t) => {
      const disk = new Disk({ size, answers: 'by hand' })
      const served = serve(t, disk)
      const client = await negotiate(
        kind === 'stream' ? served.connect() : await served.connectSocket(),
        'simple',
      )
      const lengths = [100, 5000, 70 * KiB, 100, 30 * KiB, 4000, 3, 90 * KiB, 10]
      const payloads = lengths.map((length, index) => Buffer.alloc(length, index + 1))
      for (const [cookie, payload] of payloads.entries())
        client.sendRequest({
          type: WRITE,
          cookie,
          offset: cookie * 100 * KiB,
          length: payload.length,
          payload,
        })
      await disk.holds(lengths.length)
      disk.releaseAll()
      for (let count = 0; count < lengths.length; count++) assert.equal((await client.reply()).error, 0)
      for (const [index, payload] of payloads.entries())
        assert.ok(
          disk.bytes
            .subarray(index * 100 * KiB)
            .subarray(0, payload.length)
            .equals(payload),
          `write ${index}`,
        )
    })
})

describe('a payload that is refused', () => {
  for (const kind of ['stream', 'socket'] as const)
    test(`is passed over, whatever its length, and the next request is understood: ${kind}`, async (t) => {
      const disk = new Disk()
      const served = serve(t, disk, { readOnly: true })
      const client = await negotiate(
        kind === 'stream' ? served.connect() : await served.connectSocket(),
        'simple',
      )
      for (const length of [1, 27, 28, 4096, receiveBytes - 28, receiveBytes, 3 * receiveBytes + 1]) {
        client.sendRequest({ type: WRITE, cookie: length, length, payload: Buffer.alloc(length, 0x25) })
        client.sendRequest({ type: READ, cookie: 1, offset: 4, length: 4 })
        assert.equal((await client.reply()).error, nbd.NBD_EPERM)
        assert.ok((await client.reply()).data.equals(disk.bytes.subarray(4, 8)), `after ${length} bytes`)
      }
    })
})

describe('a read of a sparse disk', () => {
  /** Data, a hole, data, and a hole up to the end of the request. */
  const parts = (length: number): Uint8Array[] => [
    Buffer.alloc(1000, 'a'),
    ...[zeroes(4096)].flat(),
    Buffer.alloc(24, 'b'),
    ...[zeroes(length - 5120)].flat(),
  ]
  const read: DeviceInit['read'] = (_offset, length) => parts(length)
  const length = 3 * 2 ** 20
  const content = Buffer.concat(parts(length))

  for (const mode of ['structured', 'extended'] as const) {
    test(`is answered with chunks of data and holes: ${mode}`, async (t) => {
      const disk = new Disk({ device: { size: 2 ** 24, read } })
      const client = await negotiate(serve(t, disk).connect(), mode)
      const chunks = await client.request({ type: READ, offset: 512, length })
      const { NBD_REPLY_TYPE_OFFSET_DATA: DATA, NBD_REPLY_TYPE_OFFSET_HOLE: HOLE } = nbd
      assert.deepEqual(
        chunks.map(({ type, done, data }) => [
          ...[type, done, Number(data.readBigUInt64BE())],
          type === HOLE ? data.readUInt32BE(8) : data.length - 8,
        ]),
        [
          [DATA, false, 512, 1000],
          [HOLE, false, 1512, 4096],
          [DATA, false, 5608, 24],
          [HOLE, true, 5632, length - 5120],
        ],
      )
      assert.equal(chunks[0]?.data.toString('latin1', 8), 'a'.repeat(1000))
    })

    test(`is one chunk of data where the client takes no fragments: ${mode}`, async (t) => {
      const disk = new Disk({ device: { size: 2 ** 24, read } })
      const client = await negotiate(serve(t, disk).connect(), mode)
      const chunks = await client.request({ type: READ, flags: nbd.NBD_CMD_FLAG_DF, length })
      assert.equal(chunks.length, 1)
      assert.ok(chunks[0]?.data.subarray(8).equals(content))
    })
  }

  test('is all bytes in a simple reply', async (t) => {
    const disk = new Disk({ device: { size: 2 ** 24, read } })
    const client = await negotiate(serve(t, disk).connect(), 'simple')
    const [reply] = await client.request({ type: READ, length })
    assert.ok(reply?.data.equals(content))
  })
})

describe('what comes right behind the last option', () => {
  for (const kind of ['stream', 'socket'] as const)
    test(`is not lost, also where it is more than may be in flight: ${kind}`, async (t) => {
      const disk = new Disk({ answers: 'by hand' })
      const served = serve(t, disk)
      const client = kind === 'stream' ? served.connect() : await served.connectSocket()
      const reads = Array.from({ length: 60 }, (_, cookie) =>
        encodeRequest({ type: READ, cookie, offset: 16 * cookie, length: 16 }),
      )
      const go = Buffer.from('0000000349484156454f50540000000700000006000000000000', 'hex')
      client.send(Buffer.concat([go, ...reads.slice(0, 20)]))
      await disk.holds(16)
      client.send(Buffer.concat(reads.slice(20)))
      // The rest arrives while the first requests wait. Then all waiting requests are answered.
      for (let turns = 0; turns < 100; turns++) {
        await turn()
        if (turns > 10) disk.releaseAll()
      }
      assert.deepEqual(
        disk.calls,
        reads.map((_, cookie) => `read 16 at ${16 * cookie}`),
      )
    })
})
