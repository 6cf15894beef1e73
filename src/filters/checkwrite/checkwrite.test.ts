import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { HOLE, ZERO } from '../../api/device.js'
import { definePlugin } from '../../api/plugin.js'
import data from '../../plugins/data/data.js'
import { openDevice } from '../../testing/index.js'
import noextents from '../noextents/noextents.js'
import checkwrite from './checkwrite.js'

const fua = { fua: false }
const zero = (fast = false) => ({ fua: false, mayTrim: true, fast })
/** One byte 1 at 512, in a disk of 4 KiB. */
const disk = () => data({ data: '@512 1 @4096' })
const open = (...filters: Parameters<typeof openDevice>[1] & {}) =>
  openDevice(disk(), [checkwrite(), ...filters])

describe('checkwrite', () => {
  test('answers a write of what the disk has, and fails any other with its place', async () => {
    const device = await open()
    const bytes = Buffer.alloc(1024)
    bytes[512] = 1
    await device.write(0, bytes, fua)
    bytes[700] = 9
    assert.throws(() => device.write(0, bytes, fua), {
      code: 'EIO',
      message: 'checkwrite: the data written differs from the disk at 700',
    })
    await device.close()
  })

  test('fails a long write at its first difference, wherever that is', async () => {
    const device = await openDevice(data({ data: '@1048576' }), [checkwrite()])
    for (const place of [0, 262_143, 262_144, 1_048_575]) {
      const bytes = Buffer.alloc(2 ** 20)
      bytes[place] = 1
      await assert.rejects(async () => device.write(0, bytes, fua), {
        message: `checkwrite: the data written differs from the disk at ${place}`,
      })
    }
    await device.close()
  })

  test('answers zeroes and trims of zeroes, hole or not, and fails those of data', async () => {
    const device = await open()
    await device.zero(0, 512, zero())
    await device.trim(0, 512, fua)
    await device.zero(513, 3000, zero())
    await assert.rejects(async () => device.zero(0, 1024, zero()), { code: 'EIO', message: /at 512$/ })
    await assert.rejects(async () => device.trim(512, 1, fua), { code: 'EIO', message: /at 512$/ })
    await device.close()
  })

  test('refuses a fast zero that would have to read', async () => {
    const device = await open()
    await assert.rejects(async () => device.zero(0, 1024, zero(true)), { code: 'ENOTSUP' })
    const blind = await open(noextents())
    await assert.rejects(async () => blind.zero(2048, 512, zero(true)), { code: 'ENOTSUP' })
    await device.close()
    await blind.close()
  })

  test('looks at no more than the range, where extents end beside it', async () => {
    const reads: [number, number][] = []
    const plugin = definePlugin({
      name: 'disk',
      description: 'for tests',
      params: {},
      setup: () => ({
        open: () => ({
          size: 2 ** 20,
          read(offset, length, alloc) {
            reads.push([offset, length])
            return alloc(length)
          },
          // One run at a time: a client has to ask again.
          extents: (offset) => [
            offset < 393_216 ? { length: 393_216 - offset, type: 0 } : { length: 2 ** 20, type: HOLE | ZERO },
          ],
        }),
      }),
    })()
    const device = await openDevice(plugin, [checkwrite()])
    await device.zero(262_144, 655_360, zero())
    assert.deepEqual(reads, [[262_144, 131_072]])
    await device.close()
  })

  test('opens the disk read-only, and offers all that a writable disk has', async () => {
    const device = await open()
    const { write, flush, trim, zero: zeroing, fua: forced, multiConn } = device.can
    assert.deepEqual(
      [write, flush, trim, zeroing, forced, multiConn],
      [true, true, true, 'native', 'native', true],
    )
    await device.flush()
    await device.close()
    const asked: boolean[] = []
    const plugin = definePlugin({
      name: 'disk',
      description: 'for tests',
      params: {},
      setup: () => ({
        open({ readOnly }) {
          asked.push(readOnly)
          return { size: 512, read: (_, length, alloc) => alloc(length) }
        },
      }),
    })()
    await (await openDevice(plugin, [checkwrite()])).close()
    assert.deepEqual(asked, [true])
  })
})
