import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Device, dataLength } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'
import { defineFilter } from '../../api/plugin.js'
import { memoryAdvice } from '../../os/madvise.js'
import { bytesOf, deviceContract, openDevice, readBytes, seeded } from '../../testing/index.js'
import memory from './memory.js'

const MiB = 2 ** 20
const notFua = { fua: false }
const mayTrim = { fua: false, mayTrim: true, fast: true }

for (const allocator of ['sparse', 'malloc'] as const) {
  test(`memory meets the contract of a device: ${allocator}`, async () => {
    for (const size of [1, 511, 4097, 1_000_003]) {
      const device = await openDevice(memory({ size, allocator }))
      await deviceContract(device, { seed: size, steps: 1000 })
      await device.close()
    }
  })

  test(`memory can all that a client may ask for: ${allocator}`, async () => {
    const device = await openDevice(memory({ size: '1M', allocator }))
    const { write, flush, trim, zero, fastZero, fua, multiConn, cache } = device.can
    assert.deepEqual(
      { write, flush, trim, zero, fastZero, fua, multiConn, cache },
      {
        write: true,
        flush: true,
        trim: true,
        zero: 'native',
        fastZero: true,
        fua: 'native',
        multiConn: true,
        cache: 'native',
      },
    )
    await device.cache(0, MiB)
    await device.flush()
    await device.close()
  })

  test(`memory reads back what crosses 2 MiB, and zeroes it: ${allocator}`, async () => {
    const device = await openDevice(memory({ size: '9M', allocator }))
    const random = seeded(1)
    const bytes = Buffer.from(Array.from({ length: 5 * MiB + 7 }, () => 1 + random.below(255)))
    await device.write(MiB + 1, bytes, notFua)
    assert.ok((await readBytes(device, MiB + 1, bytes.length)).equals(bytes))
    await device.zero(2 * MiB - 5, 4 * MiB + 9, mayTrim)
    await device.trim(MiB + 1, 2, notFua)
    bytes.fill(0, MiB - 6, 5 * MiB + 3).fill(0, 0, 2)
    assert.ok((await readBytes(device, MiB + 1, bytes.length)).equals(bytes))
    await device.close()
  })

  test(`memory of no bytes is a disk of no bytes: ${allocator}`, async () => {
    const device = await openDevice(memory({ size: 0, allocator }))
    assert.equal(device.size, 0)
    await device.close()
  })

  test(`memory is one disk for all clients: ${allocator}`, async () => {
    const others: Device[] = []
    const twice = defineFilter({
      name: 'twice',
      description: 'for tests',
      params: {},
      setup: () => ({
        async open(request, next) {
          others.push(await next(request))
          return next(request)
        },
      }),
    })
    const device = await openDevice(memory({ size: '3M', allocator }), [twice()])
    await device.write(2 * MiB - 2, Buffer.from('seen'), notFua)
    const [other] = others
    assert.ok(other)
    assert.equal((await readBytes(other, 2 * MiB - 2, 4)).toString(), 'seen')
    await other.zero(2 * MiB, 1, mayTrim)
    assert.equal((await readBytes(device, 2 * MiB - 2, 4)).toString(), 'se\0n')
    await device.close()
  })
}

test('memory answers at once, with views of the disk itself', async () => {
  const device = await openDevice(memory({ size: '1M' }))
  assert.equal(device.write(0, Buffer.from('old'), notFua), undefined)
  const data = device.read(0, 3, () => assert.fail('no memory is needed'))
  assert.ok(data instanceof Uint8Array)
  await device.write(0, Buffer.from('new'), notFua)
  assert.equal(bytesOf(data).toString(), 'new')
  await device.close()
})

test('memory reads zeroes where nothing was written, as far as a request can be', async () => {
  const device = await openDevice(memory({ size: '1T' }))
  const data = await device.read(2 ** 39 - 12345, 4 * MiB, () => assert.fail('no memory is needed'))
  assert.equal(dataLength(data), 4 * MiB)
  assert.ok(bytesOf(data).every((byte) => byte === 0))
  await device.close()
})

test('memory reports what is written as data, and the rest as holes that read as zeroes', async () => {
  const device = await openDevice(memory({ size: '1G' }))
  await device.write(MiB, Buffer.alloc(3 * MiB, 1), notFua)
  await device.zero(2 * MiB, 65536, { fua: false, mayTrim: false, fast: false })
  await device.trim(3 * MiB, 4096, notFua)
  assert.deepEqual(
    [...(await device.extents(0, 2 ** 30))],
    [
      { length: MiB, type: 3 },
      { length: MiB, type: 0 },
      { length: 65536, type: 3 },
      { length: MiB - 65536, type: 0 },
      { length: 4096, type: 3 },
      { length: MiB - 4096, type: 0 },
      { length: 2 ** 30 - 4 * MiB, type: 3 },
    ],
  )
  await device.close()
})

test('memory of 7 PiB is one hole, is written to at its end, and is trimmed whole', async () => {
  const size = 7 * 2 ** 50
  const device = await openDevice(memory({ size: '7P' }))
  assert.deepEqual([...(await device.extents(0, size))], [{ length: size, type: 3 }])
  await device.write(size - 6, Buffer.from('at end'), notFua)
  assert.equal((await readBytes(device, size - 6, 6)).toString(), 'at end')
  assert.deepEqual(
    [...(await device.extents(0, size))],
    [
      { length: size - 4096, type: 3 },
      { length: 4096, type: 0 },
    ],
  )
  await device.trim(0, size, notFua)
  assert.deepEqual([...(await device.extents(0, size))], [{ length: size, type: 3 }])
  await device.close()
})

test('memory that was allocated by malloc is data from end to end', async () => {
  const device = await openDevice(memory({ size: '1M', allocator: 'malloc' }))
  assert.equal(device.can.extents, false)
  assert.deepEqual([...(await device.extents(0, MiB))], [{ length: MiB, type: 0 }])
  await device.close()
})

const residentMiB = () => Math.round(process.memoryUsage.rss() / MiB)

test('memory uses as much as was written here and there over 1 TiB', async () => {
  const device = await openDevice(memory({ size: '1T' }))
  const random = seeded(1)
  const page = Buffer.alloc(4096, 1)
  const before = residentMiB()
  for (let write = 0; write < 4000; write++) await device.write(random.below(2 ** 28) * 4096, page, notFua)
  const used = residentMiB() - before
  // 16 MiB were written. Segments have their own overhead, and the test has garbage.
  assert.ok(used < 64, `${used} MiB are used`)
  await device.close()
})

test('memory gives back what is trimmed and zeroed', {
  skip: memoryAdvice() ? false : 'the system cannot be told to take memory back',
}, async () => {
  const device = await openDevice(memory({ size: '1G' }))
  const data = Buffer.alloc(MiB, 1)
  for (let at = 0; at < 256; at++) await device.write(at * MiB, data, notFua)
  const full = residentMiB()
  assert.ok(full >= 256, `256 MiB were written, ${full} MiB are in use`)
  // Leaves 4 KiB of each MiB, so that no segment is dropped as a whole.
  for (let at = 0; at < 128; at++) await device.trim(at * MiB, MiB - 4096, notFua)
  const half = residentMiB()
  assert.ok(full - half >= 110, `128 MiB were trimmed: of ${full} MiB, ${half} are in use`)
  for (let at = 128 * 16; at < 256 * 16; at++) await device.zero(at * 65536, 65536, mayTrim)
  const rest = residentMiB()
  assert.ok(full - rest >= 230, `the rest was zeroed by 64 KiB: of ${full} MiB, ${rest} are in use`)
  await device.close()
})

test('memory has no disk without a size, and says so', async () => {
  const untyped = memory as unknown as (inputs: object) => ReturnType<typeof memory>
  await assert.rejects(openDevice(untyped({})), new ConfigError('memory: size=SIZE is required'))
})

test('memory refuses a size that is none, or too large', async () => {
  await assert.rejects(openDevice(memory({ size: 'big' })), {
    name: 'ConfigError',
    message: 'memory: size: could not parse size "big": expected a number and a unit, such as 512, 64k or 1G',
  })
  await assert.rejects(openDevice(memory({ size: -1 })), {
    name: 'ConfigError',
    message: /memory: size: -1 is out of/,
  })
  await assert.rejects(openDevice(memory({ size: '8P' })), /memory: size: size "8P" is too large/)
})

test('memory refuses an allocator that it does not have, and names those that it has', async () => {
  for (const allocator of ['zstd', 'malloc,mlock=true', ''])
    await assert.rejects(
      openDevice(memory({ size: '1M', allocator })),
      new ConfigError(`memory: allocator: "${allocator}" is none of sparse, malloc`),
    )
})

test('memory by malloc refuses at the start a disk that there is no memory for', async () => {
  await assert.rejects(openDevice(memory({ size: '7P', allocator: 'malloc' })), {
    name: 'ConfigError',
    message: /^memory: allocator=malloc cannot reserve 7881299347898368 bytes \(.+\): allocator=sparse takes/,
  })
})
