import assert from 'node:assert/strict'
import { test } from 'node:test'
import { definePlugin } from '../../api/plugin.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import offset from './offset.js'

/**
 * A writable disk of 64 KiB in which every 32-bit word is its own address. Records the offsets where it has
 * lent memory, and the memory that came back.
 */
function addressed(lent: number[] = [], released: Uint8Array[] = []) {
  const disk = new Uint8Array(65536)
  const view = new DataView(disk.buffer)
  for (let at = 0; at < disk.length; at += 4) view.setUint32(at, at)
  return definePlugin({
    name: 'addressed',
    description: 'for tests',
    params: {},
    setup: () => ({
      open: () => ({
        size: disk.length,
        read: (at: number, length: number) => disk.subarray(at, at + length),
        write: (at: number, data: Uint8Array) => disk.set(data, at),
        window(at: number, length: number) {
          lent.push(at)
          return new Uint8Array(length)
        },
        release: (window: Uint8Array) => void released.push(window),
        extents: (at: number, length: number, context: string) => [
          { length, type: context === 'x-test:address' ? at : 0 },
        ],
        contexts: ['x-test:address'],
      }),
    }),
  })()
}

test('offset serves the range asked for', async () => {
  const device = await openDevice(addressed(), [offset({ offset: '4k', range: 512 })])
  assert.equal(device.size, 512)
  assert.equal((await readBytes(device, 8, 4)).readUInt32BE(), 4096 + 8)
  await device.close()
})

test('offset without a range serves to the end', async () => {
  const device = await openDevice(addressed(), [offset({ offset: 65532 })])
  assert.equal(device.size, 4)
  assert.equal((await readBytes(device, 0, 4)).readUInt32BE(), 65532)
  await device.close()
})

test('offset meets the contract of a device', async () => {
  const device = await openDevice(addressed(), [offset({ offset: 1000, range: 50001 })])
  await deviceContract(device)
  await device.close()
})

test('offset moves device-named contexts too', async () => {
  const device = await openDevice(addressed(), [offset({ offset: 4096 })])
  assert.deepEqual([...(await device.extents(100, 10, 'x-test:address'))], [{ length: 10, type: 4196 }])
  await device.close()
})

test('offset lends the memory of the disk below, further on, and none beyond its range', async () => {
  const lent: number[] = []
  const released: Uint8Array[] = []
  const device = await openDevice(addressed(lent, released), [offset({ offset: 4096, range: 512 })])
  const window = device.window(8, 32) ?? assert.fail('none')
  device.release(window)
  assert.deepEqual(lent, [4096 + 8])
  assert.equal(released[0], window)
  assert.throws(
    () => device.window(500, 32),
    /offset: asked to window 32 bytes at 500: the device ends at 512/,
  )
  await device.close()
})

test('offset refuses a range that ends beyond the disk, and says how long the disk is', async () => {
  await assert.rejects(openDevice(addressed(), [offset({ offset: 65000, range: 537 })]), {
    message: 'offset: a range of 537 bytes at 65000 ends beyond the disk below, which has 65536 bytes',
  })
  await assert.rejects(
    openDevice(addressed(), [offset({ offset: 65537 })]),
    /offset 65537 ends beyond the disk/,
  )
})
