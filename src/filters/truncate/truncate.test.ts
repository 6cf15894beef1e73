import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { HOLE, ZERO } from '../../api/device.js'
import { definePlugin } from '../../api/plugin.js'
import memory from '../../plugins/memory/memory.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import truncate from './truncate.js'

const no = { fua: false }
const zeroFlags = { fua: false, mayTrim: false, fast: false }

async function sizeOf(below: number, inputs: Parameters<typeof truncate>[0]): Promise<number> {
  const device = await openDevice(memory({ size: below }), [truncate(inputs)])
  await device.close()
  return device.size
}

describe('truncate', () => {
  const cases: [below: number, inputs: Parameters<typeof truncate>[0], size: number][] = [
    [1000, {}, 1000],
    [1000, { size: 5 }, 5],
    [1000, { size: '1M' }, 2 ** 20],
    [1000, { roundUp: 512 }, 1024],
    [1000, { roundDown: 512 }, 512],
    [1024, { roundUp: 512, roundDown: 512 }, 1024],
    [1000, { size: 3000, roundUp: 4096 }, 4096],
    [1000, { roundUp: 512, roundDown: 4096 }, 0],
    [5 * 2 ** 30, { roundUp: 512 }, 5 * 2 ** 30],
    [0, { size: 4096 }, 4096],
  ]
  for (const [below, inputs, size] of cases)
    test(`makes ${size} bytes of ${below} with ${JSON.stringify(inputs)}`, async () =>
      assert.equal(await sizeOf(below, inputs), size))

  for (const inputs of [{ roundUp: 0 }, { roundDown: 3 }, { roundUp: 2 ** 32 }])
    test(`refuses ${JSON.stringify(inputs)}`, async () => {
      await assert.rejects(
        sizeOf(512, inputs),
        /^ConfigError: truncate: round-(up|down)=\d+: expected a power of two below 4G$/,
      )
    })

  test('refuses a size that cannot be rounded up', async () => {
    await assert.rejects(sizeOf(512, { size: Number.MAX_SAFE_INTEGER, roundUp: 512 }), {
      message: `truncate: ${Number.MAX_SAFE_INTEGER} bytes cannot be rounded up to 512`,
    })
  })
})

for (const size of [1000, 65536, 200_000])
  test(`truncate to ${size} bytes meets the contract of a device`, async () => {
    const below = definePlugin({
      name: 'filled',
      description: 'for tests',
      params: {},
      setup: () => ({
        open: () => {
          const bytes = new Uint8Array(65536).fill(7)
          return { size: bytes.length, read: (at, length) => bytes.subarray(at, at + length) }
        },
      }),
    })
    const device = await openDevice(below(), [truncate({ size })])
    await deviceContract(device)
    await device.close()
  })

describe('the hole behind a disk that truncate made longer', () => {
  const longer = () => openDevice(memory({ size: 1000 }), [truncate({ size: 4096 })])

  test('reads as zeroes, also together with the end of the disk', async () => {
    const device = await longer()
    await device.write(990, Buffer.alloc(10, 1), no)
    assert.deepEqual(await readBytes(device, 998, 4), Buffer.from([1, 1, 0, 0]))
    assert.deepEqual(await readBytes(device, 1000, 3096), Buffer.alloc(3096))
    await device.close()
  })

  test('takes zeroes, trims and requests to cache', async () => {
    const device = await longer()
    await device.write(990, Buffer.alloc(20), no)
    await device.write(2000, Buffer.alloc(2096), no)
    for (const offset of [990, 2000]) {
      await device.zero(offset, 100, zeroFlags)
      await device.trim(offset, 100, no)
      await device.cache(offset, 100)
    }
    await device.zero(2000, 100, { ...zeroFlags, fast: true })
    await device.close()
  })

  test('takes no other bytes, and then nothing of the write', async () => {
    const device = await longer()
    const data = Buffer.alloc(20, 1)
    assert.throws(() => device.write(990, data, no), {
      code: 'ENOSPC',
      message: 'truncate: write 20 at 990: the disk below ends at 1000',
    })
    assert.deepEqual(await readBytes(device, 990, 10), Buffer.alloc(10))
    await device.close()
  })

  test('is one extent', async () => {
    const device = await longer()
    await device.write(0, Buffer.alloc(1000, 1), no)
    assert.deepEqual([...(await device.extents(500, 3000))], [{ length: 500, type: 0 }])
    assert.deepEqual([...(await device.extents(1000, 3096))], [{ length: 3096, type: HOLE | ZERO }])
    await device.close()
  })

  test('lends no memory', async () => {
    const device = await openDevice(memory({ size: '1M' }), [truncate({ size: '2M' })])
    assert.equal(device.window(2 ** 20 - 65536, 131072), undefined)
    assert.equal(device.window(0, 65536)?.length, 65536)
    await device.close()
  })
})
