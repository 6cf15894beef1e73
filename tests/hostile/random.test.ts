/**
 * Several clients at once, each with requests by chance in a part of the disk of its own, against a model of
 * that part. They share the server's memory: what one is sent must never be what another asked for.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Data, DeviceInit } from '../../src/api/device.js'
import type { Concurrency } from '../../src/api/plugin.js'
import { zeroes } from '../../src/api/zeroes.js'
import * as nbd from '../../src/protocol/constants.js'
import { type Random, seeded } from '../../src/testing/random.js'
import { encodeRequest, type RawClient, type RawRequest } from '../../src/testing/raw-client.js'
import { Disk, type Served, serve } from '../../src/testing/served-disk.js'

const { NBD_CMD_READ: READ, NBD_CMD_WRITE: WRITE, NBD_CMD_WRITE_ZEROES: ZERO } = nbd
const partBytes = 512 * 1024

/** Answers at once or some turns later, with its own memory, with what it was lent, or with some of both. */
function unsteady(bytes: Buffer, random: Random): Partial<DeviceInit> {
  const wait = async () => {
    for (let turns = random.below(5); turns > 0; turns--) await turn()
  }
  const change = (work: () => void) => (random.chance(0.5) ? work() : wait().then(work))
  return {
    size: bytes.length,
    read(offset, length, alloc) {
      const own = bytes.subarray(offset, offset + length)
      const lent = () => {
        const memory = alloc(length)
        memory.set(own)
        return memory
      }
      const cut = random.below(length)
      const fills: (() => Data)[] = [
        () => own,
        lent,
        lent,
        () => [lent().subarray(0, cut), own.subarray(cut)],
      ]
      if (own.every((byte) => byte === 0)) fills.push(() => zeroes(length))
      const fill = random.pick(fills)
      if (random.chance(0.4)) return fill()
      if (random.chance(0.5)) return wait().then(fill)
      const filled = fill()
      return wait().then(() => filled)
    },
    write: (offset, data) => change(() => bytes.set(data, offset)),
    zero: (offset, length) => change(() => void bytes.fill(0, offset, offset + length)),
  }
}

/**
 * Requests that do not overlap, so that their order does not matter, and what becomes of the part by them.
 */
function batch(random: Random, base: number, before: Buffer): { requests: RawRequest[]; after: Buffer } {
  const after = Buffer.from(before)
  const count = 1 + random.below(30)
  const slot = Math.floor(partBytes / count)
  const requests = Array.from({ length: count }, (_, cookie): RawRequest => {
    // Small ones share a buffer on their way, large ones go out as they are.
    const length = 1 + random.below(Math.min(slot, random.pick([100, 4000, 60_000, slot])))
    const at = cookie * slot + random.below(slot - length + 1)
    const request = { cookie, offset: base + at, length }
    switch (random.below(5)) {
      case 0:
        after.fill(0, at, at + length)
        return { type: ZERO, ...request }
      case 1: {
        const payload = Buffer.alloc(length, 1 + random.below(255))
        payload.copy(after, at)
        return { type: WRITE, payload, ...request }
      }
      case 2:
        return { type: WRITE, payload: Buffer.alloc(length, 0x25), ...request, offset: 2 ** 40 }
      default:
        return { type: READ, ...request }
    }
  })
  return { requests, after }
}

/** Sends requests in pieces by chance, does not read for a while by chance, and checks each reply. */
async function exchange(
  client: RawClient,
  requests: RawRequest[],
  before: Buffer,
  base: number,
  random: Random,
) {
  const bytes = Buffer.concat(requests.map((request) => encodeRequest(request, client.extended)))
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + random.below(random.chance(0.5) ? 500 : 200_000)
    client.send(bytes.subarray(at, end))
    at = end
    if (random.chance(0.3)) client.stream.pause()
    if (random.chance(0.5)) await turn()
  }
  client.expectReplies(requests)
  client.stream.resume()
  const covered = new Map<number, number>()
  for (let left = requests.length; left > 0; ) {
    const { cookie, error, type, done, data } = await client.reply()
    const { type: command, offset = 0, length = 0 } = requests[cookie] ?? assert.fail(`cookie ${cookie}`)
    if (done) left--
    assert.equal(error, offset === 2 ** 40 ? nbd.NBD_ENOSPC : 0)
    if (command !== READ) continue
    const simple = type === undefined
    const at = (simple ? Number(offset) : Number(data.readBigUInt64BE())) - base
    const content =
      type === nbd.NBD_REPLY_TYPE_OFFSET_HOLE
        ? Buffer.alloc(data.readUInt32BE(8))
        : data.subarray(simple ? 0 : 8)
    assert.ok(content.equals(before.subarray(at, at + content.length)), `read ${length} at ${offset}`)
    covered.set(cookie, (covered.get(cookie) ?? 0) + content.length)
    if (done) assert.equal(covered.get(cookie), length)
  }
}

async function play(
  t: TestContext,
  seed: number,
  connect: (served: Served) => Promise<RawClient>,
): Promise<void> {
  const random = seeded(seed)
  const clients = 1 + random.below(4)
  const bytes = Buffer.alloc(clients * partBytes)
  const concurrency = random.pick<Concurrency>([
    'parallel',
    'parallel',
    'serialize-requests',
    'serialize-all-requests',
  ])
  const disk = new Disk({ device: unsteady(bytes, random), plugin: { concurrency } })
  const served = serve(t, disk, { threads: random.pick([1, 3, 16]) })
  const one = async (base: number) => {
    const client = await connect(served)
    const mode = random.below(3)
    await client.go({ structured: mode === 1, extended: mode === 2 })
    for (let round = 0; round < 3; round++) {
      const before = Buffer.from(bytes.subarray(base, base + partBytes))
      const { requests, after } = batch(random, base, before)
      await exchange(client, requests, before, base, random)
      assert.ok(bytes.subarray(base, base + partBytes).equals(after), `the disk after round ${round}`)
    }
  }
  await Promise.all(Array.from({ length: clients }, (_, index) => one(index * partBytes)))
  assert.deepEqual(served.errors, [])
}

test('each client reads what it wrote, over streams', async (t) => {
  for (let seed = 1; seed <= 60; seed++)
    await t.test(`seed ${seed}`, (sub) => play(sub as TestContext, seed, async (served) => served.connect()))
})

test('each client reads what it wrote, over sockets', async (t) => {
  for (let seed = 1; seed <= 40; seed++)
    await t.test(`seed ${seed}`, (sub) => play(sub as TestContext, seed, (served) => served.connectSocket()))
})
