import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import ones from './ones.js'

const MiB = 2 ** 20

test('ones has a size of zero unless one is given', async () => {
  const device = await openDevice(ones())
  assert.equal(device.size, 0)
  await device.close()
})

for (const [means, byte, expected] of [
  ['0xff', undefined, 0xff],
  ['the byte that was asked for', '0x55', 0x55],
  ['zeroes, when asked for', 0, 0],
] as const)
  test(`ones reads as ${means}, as far as a request can be`, async () => {
    const device = await openDevice(ones({ size: '1G', byte }))
    await deviceContract({ ...device, can: { ...device.can, write: false } })
    for (const length of [1, 256 * 1024, 256 * 1024 + 1, 4 * MiB, 5 * MiB + 3]) {
      const data = await readBytes(device, 7, length)
      assert.equal(data.length, length)
      assert.ok(data.every((found) => found === expected))
    }
    await device.close()
  })

test('ones takes every command and remembers none', async () => {
  const device = await openDevice(ones({ size: 4096 }))
  await device.write(0, Buffer.alloc(4096, 1), { fua: true })
  await device.zero(0, 4096, { fua: true, mayTrim: true, fast: true })
  await device.trim(0, 4096, { fua: true })
  await device.cache(0, 4096)
  await device.flush()
  assert.ok((await readBytes(device, 0, 4096)).every((byte) => byte === 0xff))
  assert.equal(device.can.multiConn, true)
  await device.close()
})

test('ones is all data', async () => {
  const device = await openDevice(ones({ size: '1G' }))
  assert.deepEqual([...(await device.extents(0, 2 ** 30))], [{ length: 2 ** 30, type: 0 }])
  await device.close()
})

test('ones refuses what is not one byte', async () => {
  await assert.rejects(openDevice(ones({ size: 1, byte: 256 })), {
    name: 'ConfigError',
    message: 'ones: byte: 256 is out of range: expected an integer from 0 to 255',
  })
  await assert.rejects(openDevice(ones({ size: 1, byte: 'x' })), /ones: byte: could not parse number: "x"/)
})
