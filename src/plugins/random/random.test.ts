import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import random from './random.js'

const MiB = 2 ** 20
const notFua = { fua: false }

for (const fast of [false, true]) {
  const kind = fast ? 'random and fast' : 'random'

  test(`${kind} gives the same bytes for the same seed, and others for another`, async () => {
    const bytes: Buffer[] = []
    for (const seed of [1, '0x1', 2, 0]) {
      const device = await openDevice(random({ size: MiB, seed, fast }))
      bytes.push(await readBytes(device, 0, MiB))
      await device.close()
    }
    const [one, again, two, zero] = bytes
    assert.ok(one && again && two && zero)
    assert.ok(one.equals(again))
    assert.ok(!one.equals(two) && !one.equals(zero) && !two.equals(zero))
  })

  test(`${kind} keeps the contract of a device, but for writes`, async () => {
    const device = await openDevice(random({ size: 1_000_003, seed: 7, fast }))
    await deviceContract({ ...device, can: { ...device.can, write: false } })
    await device.close()
  })

  test(`${kind} has no two sectors alike, also not 2 TiB apart`, async () => {
    const device = await openDevice(random({ size: '1P', seed: 3, fast }))
    const sectors = new Set<string>()
    for (const offset of [0, 2 ** 41, 2 ** 44, 2 ** 49]) {
      const bytes = await readBytes(device, offset, MiB)
      for (let at = 0; at < MiB; at += 512) sectors.add(bytes.toString('latin1', at, at + 512))
    }
    assert.equal(sectors.size, 4 * 2048)
    await device.close()
  })

  test(`${kind} takes a write of what is there`, async () => {
    const device = await openDevice(random({ size: '1M', seed: 5, fast }))
    for (const [offset, length] of [
      [0, MiB],
      [4095, 2],
      [12_345, 67_890],
    ] as const)
      await device.write(offset, await readBytes(device, offset, length), notFua)
    await device.close()
  })

  test(`${kind} refuses a write of anything else, and says where it differs`, async () => {
    const device = await openDevice(random({ size: '1M', seed: 5, fast }))
    const bytes = await readBytes(device, 1000, 10_000)
    bytes[9000] = (bytes[9000] ?? 0) ^ 1
    assert.throws(() => device.write(1000, bytes, notFua), {
      code: 'EIO',
      message: 'write 10000 at 1000: the byte at 10000 is not what is read there',
    })
    await device.close()
  })
}

test('random cannot be compressed, and has every byte equally often', async () => {
  const device = await openDevice(random({ size: MiB, seed: 1 }))
  const bytes = await readBytes(device, 0, MiB)
  assert.ok(gzipSync(bytes).length > MiB)
  const counts = new Array<number>(256).fill(0)
  for (const byte of bytes) counts[byte] = (counts[byte] ?? 0) + 1
  // 4096 are expected of each byte, with a deviation of 64. Five times that practically never happens.
  for (const [byte, count] of counts.entries())
    assert.ok(Math.abs(count - 4096) < 320, `byte ${byte} comes ${count} times`)
  await device.close()
})

test('random that is fast repeats a sector but for its first 8 bytes', async () => {
  const device = await openDevice(random({ size: MiB, seed: 1, fast: true }))
  const bytes = await readBytes(device, 0, MiB)
  const rest = bytes.subarray(8, 512)
  for (let at = 0; at < MiB; at += 512) assert.ok(bytes.subarray(at + 8, at + 512).equals(rest))
  assert.ok(gzipSync(rest).length > rest.length)
  await device.close()
})

test('random chooses another seed each time, unless one is given', async () => {
  const [one, other] = [await openDevice(random({ size: 4096 })), await openDevice(random({ size: 4096 }))]
  assert.ok(!(await readBytes(one, 0, 4096)).equals(await readBytes(other, 0, 4096)))
  await one.close()
  await other.close()
})

test('random refuses to trim and to zero, since it has no holes', async () => {
  const device = await openDevice(random({ size: '1M' }))
  const refused = (what: string) => ({
    code: 'EIO',
    message: `${what} 512 at 0: random bytes have no holes`,
  })
  assert.throws(() => device.trim(0, 512, notFua), refused('trim'))
  const flags = { fua: false, mayTrim: true, fast: false }
  assert.throws(() => device.zero(0, 512, flags), refused('zero'))
  await device.close()
})

test('random is all data, has nothing to flush, and is the same for all clients', async () => {
  const device = await openDevice(random({ size: '1M' }))
  const { write, flush, fua, fastZero, extents, multiConn, cache } = device.can
  assert.deepEqual(
    { write, flush, fua, fastZero, extents, multiConn, cache },
    {
      write: true,
      flush: false,
      fua: 'none',
      fastZero: false,
      extents: false,
      multiConn: true,
      cache: 'native',
    },
  )
  await device.cache(0, 4096)
  await device.close()
})

test('random refuses a seed of more than 32 bits, and a disk without a size', async () => {
  await assert.rejects(openDevice(random({ size: 1, seed: '0x100000000' })), {
    name: 'ConfigError',
    message: 'random: seed: 4294967296 is out of range: expected an integer from 0 to 4294967295',
  })
  const untyped = random as unknown as (inputs: object) => ReturnType<typeof random>
  await assert.rejects(openDevice(untyped({})), /random: size=SIZE is required/)
})
