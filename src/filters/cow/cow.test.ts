import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type DeviceInit, HOLE, ZERO } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { isPromise } from '../../api/maybe.js'
import { definePlugin } from '../../api/plugin.js'
import { NBD_CMD_READ, NBD_CMD_WRITE } from '../../protocol/constants.js'
import { createServer } from '../../server/server.js'
import { connectTo } from '../../testing/connect.js'
import { deviceContract, openDevice, readBytes, seeded } from '../../testing/index.js'
import cow from './cow.js'
import { cowDevice } from './cow-device.js'
import { Overlay } from './overlay.js'

const KiB = 1024
const fua = { fua: false }
const folder = mkdtempSync(join(tmpdir(), 'cow-'))
after(() => rmSync(folder, { recursive: true }))

/** A disk that cannot be written, of bytes that tell their place. Counts its reads. */
function below(size: number, answers: 'now' | 'later' = 'now', init: Partial<DeviceInit> = {}) {
  const bytes = Buffer.from(Array.from({ length: size }, (_, index) => (index * 7 + (index >>> 8)) & 0xff))
  const counts = { reads: 0 }
  const plugin = definePlugin({
    name: 'below',
    description: 'for tests',
    params: {},
    setup: () => ({
      exports: () => [{ name: 'a' }, { name: 'b' }],
      open: () => ({
        size,
        read(offset, length) {
          counts.reads++
          const data = bytes.subarray(offset, offset + length)
          return answers === 'now' ? data : turn(data)
        },
        ...init,
      }),
    }),
  })()
  return { plugin, bytes, counts }
}

for (const answers of ['now', 'later'] as const)
  for (const blockSize of [4 * KiB, 64 * KiB])
    for (const size of [1, 4096, 130_000, 300_000])
      test(`cow meets the contract: a disk of ${size} bytes that answers ${answers}, blocks of ${blockSize}`, async () => {
        const { plugin } = below(size, answers)
        const device = await openDevice(plugin, [cow({ blockSize })])
        await deviceContract(device)
        await device.close()
      })

test('cow leaves the disk below as it is, and answers at once where that does', async () => {
  const { plugin, bytes } = below(300_000)
  const before = Buffer.from(bytes)
  const device = await openDevice(plugin, [cow()])
  assert.ok(!isPromise(device.write(10, Buffer.from('changed'), fua)))
  assert.equal((await readBytes(device, 10, 7)).toString(), 'changed')
  assert.deepEqual(await readBytes(device, 17, 100), before.subarray(17, 117))
  await device.flush()
  assert.deepEqual(bytes, before)
  await device.close()
})

describe('cow, with requests in flight together,', () => {
  for (const answers of ['now', 'later'] as const)
    for (const onRead of ['false', 'true'])
      test(`is like a plain disk: below answers ${answers}, cow-on-read=${onRead}`, async () => {
        for (let seed = 1; seed <= 15; seed++) {
          const random = seeded(seed)
          const { plugin, bytes } = below(100_000, answers)
          const model = Buffer.from(bytes)
          const device = await openDevice(plugin, [cow({ blockSize: 4096, onRead })])
          for (let round = 0; round < 30; round++) {
            // Ranges of one round do not overlap, but their blocks do.
            const step = 1000 + random.below(6000)
            const work: unknown[] = []
            for (let at = random.below(3000); at + step < model.length; at += step) {
              const [offset, length] = [at, 1 + random.below(step)]
              const kind = random.below(6)
              if (kind < 2) {
                const data = Buffer.alloc(length, random.below(256))
                model.set(data, offset)
                work.push(device.write(offset, data, fua))
              } else if (kind === 2) {
                model.fill(0, offset, offset + length)
                work.push(
                  device.zero(offset, length, { fua: false, mayTrim: random.chance(0.5), fast: false }),
                )
              } else if (kind === 3) {
                model.fill(0, offset, offset + length)
                work.push(device.trim(offset, length, fua))
              } else if (kind === 4) work.push(device.cache(offset, length))
              else {
                const expected = Buffer.from(model.subarray(offset, offset + length))
                const checked = readBytes(device, offset, length).then((data) =>
                  assert.ok(data.equals(expected), `seed ${seed}: ${length} at ${offset}`),
                )
                work.push(checked)
              }
            }
            await Promise.all(work)
            assert.ok(
              (await readBytes(device, 0, model.length)).equals(model),
              `seed ${seed}, round ${round}`,
            )
          }
          await holesAreZero(device, model)
          await device.close()
        }
      })
})

async function holesAreZero(device: Awaited<ReturnType<typeof openDevice>>, model: Buffer) {
  for (let at = 0; at < model.length; )
    for (const { length, type } of await device.extents(at, model.length - at)) {
      if (type & ZERO) assert.ok(model.subarray(at, at + length).every((byte) => byte === 0))
      at += length
      if (at >= model.length) break
    }
}

test('cow tells of what was written as data, of whole blocks that were trimmed as holes, and of the rest as below', async () => {
  const block = 64 * KiB
  const { plugin } = below(10 * block, 'now', {
    extents: (offset, length) => [
      ...(offset < 2 * block ? [{ length: 2 * block - offset, type: 0 }] : []),
      { length: offset + length, type: HOLE | ZERO },
    ],
  })
  const device = await openDevice(plugin, [cow()])
  await device.trim(block, block, fua)
  await device.trim(3 * block + 2, 3 * block - 3, fua)
  await device.write(8 * block, new Uint8Array(block), fua)
  const types: string[] = []
  for (const { length, type } of await device.extents(0, 10 * block))
    types.push((type === 0 ? 'data' : 'hole').repeat(1), `${length / block}`)
  assert.deepEqual(types.join(' '), 'data 1 hole 1 hole 1 data 1 hole 1 data 1 hole 2 data 1 hole 1')
  await device.close()
})

test('cow zeroes whole blocks fast where they may be trimmed, and refuses any other fast zero', async () => {
  const { plugin } = below(200_000)
  const device = await openDevice(plugin, [cow()])
  const zero = { fua: false, mayTrim: true, fast: true }
  await device.zero(0, 131_072, zero)
  await device.zero(131_072, 200_000 - 131_072, zero)
  for (const [offset, length, mayTrim] of [
    [1, 65_536, true],
    [0, 1000, true],
    [0, 65_536, false],
  ] as const)
    assert.throws(() => device.zero(offset, length, { ...zero, mayTrim }), { code: 'ENOTSUP' })
  await device.close()
})

test('cow-on-read keeps what is read, and a path only while there is such a file', async () => {
  const path = join(folder, 'keep')
  const { plugin, counts } = below(300_000)
  const device = await openDevice(plugin, [cow({ onRead: path })])
  const reads = async () => {
    const before = counts.reads
    await readBytes(device, 70_000, 100)
    return counts.reads - before
  }
  assert.deepEqual([await reads(), await reads()], [1, 1])
  writeFileSync(path, '')
  assert.deepEqual([await reads(), await reads()], [1, 0])
  await device.close()
})

test('cow-on-cache keeps what a client asks to cache', async () => {
  const { plugin, counts } = below(300_000)
  const device = await openDevice(plugin, [cow({ onCache: true })])
  await device.cache(0, 200_000)
  const before = counts.reads
  await readBytes(device, 0, 190_000)
  assert.equal(counts.reads, before)
  await device.close()
})

test('cow shows what one client writes to all clients of the export, also to later ones, and to no other export', async () => {
  const { plugin } = below(100_000)
  const server = createServer({ plugin, filters: [cow()] })
  const first = await connectTo(server)
  await first.client.request({ type: NBD_CMD_WRITE, length: 3, payload: Buffer.from('new') })
  first.client.stream.destroy()
  const second = await connectTo(server)
  const [part] = await second.client.request({ type: NBD_CMD_READ, length: 3 })
  assert.equal(part?.data.toString(), 'new')
  await server.shutdown({ graceMs: 0 })
})

test('cow fails a write for which its file has no room, and loses nothing', async () => {
  const { plugin, bytes } = below(300_000)
  const inner = await openDevice(plugin)
  const overlay = new Overlay(inner.size, 64 * KiB)
  const put = overlay.put
  let room = true
  Object.defineProperty(overlay, 'put', {
    value: (offset: number, data: Uint8Array) => {
      if (!room) throw new NbdError('ENOSPC', 'no space left on device')
      return put(offset, data)
    },
  })
  const device = cowDevice(inner, overlay, { keepsReads: () => false, keepsCached: false })
  const read = async (offset: number, length: number) =>
    Buffer.concat([await device.read(offset, length, (n) => new Uint8Array(n))].flat() as Uint8Array[])
  await device.write?.(0, Buffer.from('kept'), fua)
  room = false
  assert.throws(() => device.write?.(70_000, Buffer.from('lost'), fua), { code: 'ENOSPC' })
  assert.equal((await read(0, 4)).toString(), 'kept')
  assert.deepEqual(await read(70_000, 100), bytes.subarray(70_000, 70_100))
  room = true
  await device.write?.(70_000, Buffer.from('here'), fua)
  assert.equal((await read(70_000, 4)).toString(), 'here')
  overlay.close()
  await inner.close()
})

test('an overlay grows with the disk below', () => {
  const overlay = new Overlay(100_000, 64 * KiB)
  overlay.mark('written', 0, 64 * KiB)
  overlay.mark('trimmed', 64 * KiB, 100_000)
  overlay.fit(10_000_000)
  assert.deepEqual(
    [0, 1, 2, 100].map((block) => overlay.state(block)),
    ['written', 'trimmed', 'below', 'below'],
  )
  overlay.close()
})

for (const [values, message] of [
  [{ blockSize: 1000 }, /^cow: cow-block-size=1000: expected a power of two from 4K to 2G$/],
  [{ blockSize: '4G' }, /^cow: cow-block-size=4294967296: expected/],
  [{ onRead: 'often' }, /^cow: cow-on-read=often: expected true, false, or a path that begins with \/$/],
] as const)
  test(`cow refuses ${JSON.stringify(values)}`, () =>
    assert.rejects(openDevice(below(512).plugin, [cow(values)]), { name: 'ConfigError', message }))
