/** Memory lent to a device for a READ holds no data of other clients. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Alloc, DeviceInit } from '../api/device.js'
import { NBD_CMD_READ, NBD_CMD_WRITE } from '../protocol/constants.js'
import { Disk, serve } from '../testing/served-disk.js'
import { BufferPool } from './buffer-pool.js'

const reads: Record<string, DeviceInit['read']> = {
  'at once': (_offset, length, alloc) => alloc(length),
  later: async (_offset, length, alloc) => {
    await turn()
    return alloc(length)
  },
  'with memory from before it waited': async (_offset, length, alloc) => {
    const target = alloc(length)
    await turn()
    return target
  },
}

const lengths = [1, 512, 32_768, 32_769, 300_000]

describe('a device that fills nothing', () => {
  for (const [how, read] of Object.entries(reads))
    it(`and answers ${how} gives zeroes, whatever another client wrote`, async (t) => {
      const stored = new Disk({ size: 2 ** 20 }).bytes
      const disk = new Disk({
        size: 2 ** 20,
        device: {
          async write(offset, data) {
            await turn()
            stored.set(data, offset)
          },
          // The first kilobyte is read as written, through memory of the same pool.
          read: (offset, length, alloc) => {
            if (offset !== 0) return read(offset, length, alloc)
            const target = alloc(length, 'uninitialized')
            target.set(stored.subarray(0, length))
            return target
          },
        },
      })
      const served = serve(t, disk)
      const [writer, reader] = [await served.connectSocket(), await served.connectSocket()]
      await writer.go()
      await reader.go()
      for (const length of lengths) {
        const payload = new Uint8Array(length).fill(0x53)
        for (let round = 0; round < 3; round++) {
          await writer.request({ type: NBD_CMD_WRITE, length, payload })
          await writer.request({ type: NBD_CMD_READ, length })
          const [reply] = await reader.request({ type: NBD_CMD_READ, offset: 4096, length })
          assert.equal(reply?.data.length, length)
          assert.ok(reply.data.every((byte) => byte === 0))
        }
      }
    })
})

describe('memory of the pool', () => {
  const lendAgain = (lend: (pool: BufferPool) => Alloc, content?: 'uninitialized') => {
    const pool = new BufferPool()
    const first = pool.take(4096).fill(1)
    pool.give(first)
    const second = lend(pool)(4096, content)
    assert.equal(second.buffer, first.buffer)
    return second
  }

  it('is zeroed before it is lent', () => {
    assert.ok(lendAgain(({ lend }) => lend).every((byte) => byte === 0))
  })

  it('is not zeroed for a device that says that it fills all of it', () => {
    assert.ok(lendAgain(({ lend }) => lend, 'uninitialized').every((byte) => byte === 1))
  })
})
