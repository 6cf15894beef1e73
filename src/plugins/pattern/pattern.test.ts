import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceContract, openDevice, readBytes, seeded } from '../../testing/index.js'
import pattern from './pattern.js'

/** The content byte by byte, as the manual page defines it. */
function expected(offset: number, length: number, upper = 0n): Buffer {
  const start = offset - (offset % 8)
  const words = Buffer.alloc(Math.ceil((offset + length - start) / 8) * 8)
  for (let at = 0; at < words.length; at += 8) words.writeBigUInt64BE(BigInt(start + at) ^ (upper << 48n), at)
  return words.subarray(offset - start, offset - start + length)
}

test('pattern is its own offset, every 8 bytes, wherever a read begins and ends', async () => {
  const size = 7 * 2 ** 50
  const device = await openDevice(pattern({ size }))
  const random = seeded(1)
  for (const near of [0, 4096, 2 ** 31, 2 ** 32, 2 ** 48, size - 20_000])
    for (let step = 0; step < 50; step++) {
      const offset = near + random.below(10_000)
      const length = 1 + random.below(10_000)
      assert.deepEqual(await readBytes(device, offset, length), expected(offset, length), `at ${offset}`)
    }
  await device.close()
})

test('pattern of an odd size ends within its last 8 bytes', async () => {
  const device = await openDevice(pattern({ size: 1_000_001 }))
  assert.equal((await readBytes(device, 999_992, 9)).toString('hex'), '00000000000f423800')
  assert.equal(device.size, 1_000_001)
  await device.close()
})

test('pattern has the upper bits that were asked for', async () => {
  const size = 2 ** 50
  const device = await openDevice(pattern({ size, upper: '0xf234' }))
  for (const offset of [0, 4092, 2 ** 48 - 5, size - 16])
    assert.deepEqual(await readBytes(device, offset, 16), expected(offset, 16, 0xf234n))
  await device.close()
})

test('pattern keeps the contract of a device, and is read-only, all data, the same for all', async () => {
  const device = await openDevice(pattern({ size: '1M' }))
  await deviceContract(device)
  const { write, flush, trim, zero, extents, multiConn, cache } = device.can
  assert.deepEqual(
    { write, flush, trim, zero, extents, multiConn, cache },
    {
      write: false,
      flush: false,
      trim: false,
      zero: 'none',
      extents: false,
      multiConn: true,
      cache: 'native',
    },
  )
  await device.cache(0, 4096)
  assert.throws(() => device.write(0, Buffer.alloc(8), { fua: false }), { code: 'EPERM' })
  await device.close()
})

test('pattern has no disk without a size, and says so', async () => {
  const untyped = pattern as unknown as (inputs: object) => ReturnType<typeof pattern>
  await assert.rejects(openDevice(untyped({})), {
    name: 'ConfigError',
    message: 'pattern: size=SIZE is required',
  })
})

test('pattern refuses more than 16 upper bits', async () => {
  await assert.rejects(openDevice(pattern({ size: 8, upper: '65536' })), {
    name: 'ConfigError',
    message: 'pattern: upper: 65536 is out of range: expected an integer from 0 to 65535',
  })
})
