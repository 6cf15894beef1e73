import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDevice, readBytes } from '../../testing/index.js'
import nullPlugin from './null.js'

test('null has a size of zero unless one is given', async () => {
  const device = await openDevice(nullPlugin())
  assert.equal(device.size, 0)
  await device.close()
})

test('null reads as zeroes, also after a write', async () => {
  const device = await openDevice(nullPlugin({ size: '1M' }))
  await device.write(1000, Buffer.alloc(5000, 7), { fua: true })
  assert.ok((await readBytes(device, 0, 2 ** 20)).every((byte) => byte === 0))
  await device.close()
})

test('null is one hole from end to end', async () => {
  const device = await openDevice(nullPlugin({ size: '1G' }))
  assert.deepEqual([...(await device.extents(0, 2 ** 30))], [{ length: 2 ** 30, type: 3 }])
  await device.close()
})

test('null takes every command and remembers none', async () => {
  const device = await openDevice(nullPlugin({ size: 4096 }))
  await device.zero(0, 4096, { fua: true, mayTrim: true, fast: true })
  await device.trim(0, 4096, { fua: false })
  await device.cache(0, 4096)
  await device.flush()
  assert.equal(device.can.multiConn, true)
  await device.close()
})
