import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DeviceInit } from '../api/device.js'
import { isPromise } from '../api/maybe.js'
import { zeroes } from '../api/zeroes.js'
import { openDevice } from '../testing/index.js'
import { Disk } from '../testing/served-disk.js'
import { differenceText, firstDifference, firstNonZero } from './first-difference.js'

const MiB = 2 ** 20

test('firstDifference returns the first byte that differs, and undefined where none does', async () => {
  const disk = new Disk({ size: MiB })
  const device = await openDevice(disk.plugin)
  const expected = Buffer.from(disk.bytes.subarray(1000, 900_000))
  const same = firstDifference(device, 1000, expected)
  assert.equal(await same, undefined)
  for (const index of [0, 262_143, 262_144, 700_000, expected.length - 1]) {
    const found = expected[index] ?? 0
    expected[index] = found ^ 1
    assert.deepEqual(await firstDifference(device, 1000, expected), {
      offset: 1000 + index,
      found,
      expected: found ^ 1,
    })
    expected[index] = found
  }
  await device.close()
})

test('firstNonZero finds the first byte that is not zero, also among known zeroes', async () => {
  const bytes = Buffer.alloc(MiB)
  const read: DeviceInit['read'] = (offset, length) =>
    offset < MiB / 2
      ? zeroes(length)
      : [bytes.subarray(offset, offset + 1), bytes.subarray(offset + 1, offset + length)]
  const device = await openDevice(new Disk({ size: MiB, device: { read } }).plugin)
  assert.equal(await firstNonZero(device, 3, MiB - 3), undefined)
  bytes[MiB - 1] = 9
  assert.equal(await firstNonZero(device, 3, MiB - 4), undefined)
  assert.deepEqual(await firstNonZero(device, 3, MiB - 3), { offset: MiB - 1, found: 9, expected: 0 })
  await device.close()
})

test('a comparison reads whole blocks, and not more than the maximum at once', async () => {
  const disk = new Disk({
    size: MiB,
    device: { blockSize: { minimum: 512, preferred: 4096, maximum: 65536 } },
  })
  const device = await openDevice(disk.plugin)
  assert.equal(await firstDifference(device, 1000, disk.bytes.subarray(1000, 67_000)), undefined)
  assert.deepEqual(disk.calls, ['read 65536 at 512', 'read 1024 at 66048'])
  await device.close()
})

test('a comparison of a disk that answers at once makes no Promise', async () => {
  const disk = new Disk()
  const device = await openDevice(disk.plugin)
  assert.equal(isPromise(firstDifference(device, 0, disk.bytes.subarray(0, 4096))), false)
  await device.close()
})

test('the text of a difference names the byte and both values', () => {
  const text = differenceText({ offset: 512, found: 0, expected: 0x31 })
  assert.equal(text, 'byte 512 would be 0x31, and is 0x00')
})
