import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DeviceInit, HOLE, ZERO } from '../../api/device.js'
import data from '../../plugins/data/data.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import noextents from '../noextents/noextents.js'
import checkwrite from './checkwrite.js'

const no = { fua: false }
const zeroFlags = { fua: false, mayTrim: true, fast: false }
const fast = { ...zeroFlags, fast: true }

test('checkwrite opens the disk read-only, and never writes to it', async () => {
  const disk = new Disk()
  const before = Buffer.from(disk.bytes)
  const device = await openDevice(disk.plugin, [checkwrite()])
  assert.equal(disk.opened[0]?.readOnly, true)
  await device.write(512, disk.bytes.subarray(512, 4096), { fua: true })
  await device.flush()
  await assert.rejects(async () => device.write(0, Buffer.alloc(1024), no))
  await assert.rejects(async () => device.zero(0, 1024, zeroFlags))
  await assert.rejects(async () => device.trim(0, 1024, no))
  assert.ok(disk.calls.every((call) => call.startsWith('read ')))
  assert.deepEqual(disk.bytes, before)
  await device.close()
})

test('checkwrite offers everything that writes, over a disk that can only be read', async () => {
  const disk = new Disk({ without: ['write', 'flush', 'trim', 'zero', 'cache'] })
  const device = await openDevice(disk.plugin, [checkwrite()])
  const { extents, cache, ...offered } = device.can
  assert.deepEqual(offered, {
    ...{ write: true, flush: true, trim: true, fastZero: true, multiConn: true },
    zero: 'native',
    fua: 'native',
  })
  assert.deepEqual([extents, cache], [false, 'none'])
  assert.equal(device.window(0, 65536), undefined)
  await device.close()
})

test('checkwrite refuses a write that differs, and names the byte', async () => {
  const device = await openDevice(data({ data: '@512 1', size: 8192 }), [checkwrite()])
  const bytes = await readBytes(device, 0, 4096)
  await device.write(0, bytes, no)
  bytes[513] = 0x31
  assert.throws(() => device.write(0, bytes, no), {
    code: 'EIO',
    message: 'checkwrite: write 4096 at 0: byte 513 would be 0x31, and is 0x00',
  })
  await device.close()
})

for (const filters of [[checkwrite()], [checkwrite(), noextents()]])
  test(`checkwrite takes zeroes and trims where the disk reads as zeroes (${filters.length} filters)`, async () => {
    const device = await openDevice(data({ data: '@512 1', size: 8192 }), filters)
    for (const [offset, length] of [
      [0, 512],
      [513, 7679],
    ] as const) {
      await device.zero(offset, length, zeroFlags)
      await device.trim(offset, length, no)
    }
    for (const [offset, length] of [
      [0, 1024],
      [512, 1],
      [0, 8192],
    ] as const) {
      const refused = (what: string) => ({
        code: 'EIO',
        message: `checkwrite: ${what} ${length} at ${offset}: byte 512 would be 0x00, and is 0x01`,
      })
      await assert.rejects(async () => device.zero(offset, length, zeroFlags), refused('zero'))
      await assert.rejects(async () => device.trim(offset, length, no), refused('trim'))
    }
    await device.close()
  })

/** The disk of nbdkit's own test of bounds: data that begin and end inside of what is zeroed. */
const runs = [
  { length: 131_072, type: HOLE | ZERO },
  { length: 131_072, type: 0 },
  { length: 131_072, type: HOLE },
  { length: 524_288, type: HOLE | ZERO },
]
const holed = (init: Partial<DeviceInit> = {}) => {
  const extents: DeviceInit['extents'] = function* (offset, _length) {
    let at = 0
    for (const { length, type } of runs) {
      const end = at + length
      if (end > offset) yield { length: end - Math.max(at, offset), type }
      at = end
    }
  }
  return new Disk({ size: 917_504, device: { extents, ...init } })
}

test('checkwrite reads only what is not known to be zero, and nothing beyond the request', async () => {
  const disk = holed()
  disk.bytes.fill(0)
  const device = await openDevice(disk.plugin, [checkwrite()])
  await device.zero(200_000, 600_000, zeroFlags)
  assert.deepEqual(disk.calls, ['read 62144 at 200000', 'read 131072 at 262144'])
  await device.close()
})

test('checkwrite asks for extents as often as the disk stops early', async () => {
  let asked = 0
  const disk = holed({
    extents: (_offset, length) => {
      asked++
      return [{ length: Math.min(length, 65536), type: ZERO }]
    },
  })
  const device = await openDevice(disk.plugin, [checkwrite()])
  await device.zero(0, 262_144, fast)
  assert.equal(asked, 4)
  assert.deepEqual(disk.calls, [])
  await device.close()
})

test('checkwrite refuses a fast zero that would have to read', async () => {
  const disk = holed()
  const device = await openDevice(disk.plugin, [checkwrite()])
  await device.zero(0, 131_072, fast)
  await assert.rejects(async () => device.zero(0, 131_073, fast), {
    code: 'ENOTSUP',
    message: 'checkwrite: zero 131073 at 0, fast: 1 bytes at 131072 would have to be read',
  })
  assert.deepEqual(disk.calls, [])
  const above = await openDevice(data({ data: '0', size: 4096 }), [checkwrite(), noextents()])
  await assert.rejects(async () => above.zero(0, 4096, fast), { code: 'ENOTSUP' })
  await above.close()
  await device.close()
})

test('checkwrite passes on the error of a disk that cannot be read', async () => {
  const read = () => {
    throw Object.assign(new Error('no memory'), { code: 'ENOMEM' })
  }
  const device = await openDevice(new Disk({ device: { read } }).plugin, [checkwrite()])
  assert.throws(() => device.write(0, Buffer.alloc(512), no), { code: 'ENOMEM' })
  await assert.rejects(async () => device.trim(0, 512, no), { code: 'ENOMEM' })
  await device.close()
})

test('checkwrite answers at once over a disk that does', async () => {
  const disk = new Disk()
  const device = await openDevice(disk.plugin, [checkwrite()])
  assert.equal(device.write(0, disk.bytes.subarray(0, 65536), no), undefined)
  await device.close()
})

test('checkwrite reads as the disk below does', async () => {
  const device = await openDevice(data({ data: '@512 1', size: 65536 }), [checkwrite()])
  await deviceContract({ ...device, can: { ...device.can, write: false } })
  await device.close()
})
