import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dataLength } from '../../api/device.js'
import { bytesOf, deviceContract, openDevice, readBytes } from '../../testing/index.js'
import example1 from './example1.js'

test('example1 is a read-only disk of 100 MiB', async () => {
  const device = await openDevice(example1())
  assert.equal(device.size, 100 * 2 ** 20)
  assert.equal(device.can.write, false)
  assert.throws(() => device.write(0, Buffer.alloc(512), { fua: false }), { code: 'EPERM' })
  await deviceContract(device)
  await device.close()
})

test('example1 has one partition, from 1 MiB to the end', async () => {
  const device = await openDevice(example1())
  const sector = await readBytes(device, 0, 512)
  assert.equal(sector.toString('hex', 446, 462), '00feffff83feffff0008000000180300')
  assert.equal(sector.readUInt32LE(454) + sector.readUInt32LE(458), device.size / 512)
  assert.equal(sector.toString('hex', 510), '55aa')
  assert.ok(sector.subarray(0, 446).every((byte) => byte === 0))
  await device.close()
})

test('example1 is zero after its first sector, and takes no memory for it', async () => {
  const device = await openDevice(example1())
  for (const [offset, length] of [
    [510, 2],
    [510, 100],
    [511, 3 * 2 ** 20],
    [512, 1],
    [4096, 2 ** 25],
  ] as const) {
    const data = await device.read(offset, length, () => assert.fail('no memory is needed'))
    assert.equal(dataLength(data), length)
    const table = Math.max(0, 512 - offset)
    assert.ok(
      bytesOf(data)
        .subarray(table)
        .every((byte) => byte === 0),
    )
  }
  assert.equal((await readBytes(device, 510, 4)).toString('hex'), '55aa0000')
  await device.close()
})
