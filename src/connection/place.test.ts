/** Short replies that a device fills in place, and devices that use the memory in other ways. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Alloc, Data, DeviceInit } from '../api/device.js'
import { NbdError } from '../api/errors.js'
import { zeroes } from '../api/zeroes.js'
import { NBD_CMD_READ, NBD_EIO } from '../protocol/constants.js'
import { Disk, patterned, serve } from '../testing/served-disk.js'
import { copyBytesMax } from './tuning.js'

const size = 2 ** 20
const bytes = patterned(size)
const filled = (target: Uint8Array, offset: number): Uint8Array => {
  target.set(bytes.subarray(offset, offset + target.length))
  return target
}

/** What a `read` may do with the memory it gets. Each returns the disk's content. */
const ways: Readonly<Record<string, DeviceInit['read']>> = {
  'fills it and returns it': (offset, length, alloc) => filled(alloc(length), offset),
  'returns another view of it': (offset, length, alloc) => filled(alloc(length), offset).subarray(0),
  'returns it in two pieces': (offset, length, alloc) => {
    const target = filled(alloc(length), offset)
    return [target.subarray(0, 1), target.subarray(1)]
  },
  'returns its end before its beginning': (offset, length, alloc) => {
    const target = alloc(length)
    const half = length >>> 1
    filled(target.subarray(half), offset)
    filled(target.subarray(0, half), offset + length - half)
    return [target.subarray(half), target.subarray(0, half)]
  },
  'asks for it and returns its own': (offset, length, alloc) => {
    alloc(length).fill(0xee)
    return bytes.subarray(offset, offset + length)
  },
  'asks for it twice': (offset, length, alloc) => {
    const first = alloc(length).fill(0xee)
    const second = filled(alloc(length), offset)
    first.fill(0xdd)
    return second
  },
  'asks for two pieces of it': (offset, length, alloc) => [
    filled(alloc(1), offset),
    ...(length > 1 ? [filled(alloc(length - 1), offset + 1)] : []),
  ],
  'fills it later': async (offset, length, alloc) => {
    const target = alloc(length).fill(0xee)
    await turn()
    return filled(target, offset)
  },
  'asks for it later': async (offset, length, alloc) => {
    await turn()
    const target = alloc(length).fill(0xee)
    await turn()
    return filled(target, offset)
  },
  'keeps the function, and uses it in the next read': (() => {
    let last: Alloc | undefined
    return (offset, length, alloc) => {
      last?.(length).fill(0xee)
      last = alloc
      return filled(alloc(length), offset)
    }
  })(),
}

/** Uses the ways in turn. */
const mixed = Object.values(ways)
let turns = 0
const all = {
  ...ways,
  'does all of this by turns': ((...args) =>
    (mixed[turns++ % mixed.length] as DeviceInit['read'])(...args)) as DeviceInit['read'],
}

async function connect(t: TestContext, read: DeviceInit['read'], mode: string) {
  const client = await serve(t, new Disk({ size, device: { read } })).connectSocket()
  await client.go({ structured: mode === 'structured', extended: mode === 'extended' })
  return client
}

const lengths = [4096, 512, 1, copyBytesMax - 1, copyBytesMax, copyBytesMax + 1, 100_000]

for (const mode of ['simple', 'structured', 'extended'])
  describe(`with ${mode} replies, a device that is given memory for what it reads`, () => {
    for (const [way, read] of Object.entries(all))
      it(way, async (t) => {
        const client = await connect(t, read, mode)
        const sent = new Map<number, number>()
        for (let cookie = 0; cookie < 80; cookie++) {
          const length = lengths[cookie % lengths.length] ?? 1
          sent.set(cookie, length)
          client.sendRequest({ type: NBD_CMD_READ, cookie, offset: cookie * 11_111, length })
        }
        const got = new Map<number, Buffer[]>()
        for (let done = 0; done < sent.size; ) {
          const part = await client.reply()
          assert.equal(part.error, 0)
          const data = mode === 'simple' ? part.data : part.data.subarray(8)
          got.set(part.cookie, [...(got.get(part.cookie) ?? []), data])
          if (part.done) done++
        }
        for (const [cookie, length] of sent) {
          const offset = cookie * 11_111
          const expected = bytes.subarray(offset, offset + length)
          assert.ok(Buffer.concat(got.get(cookie) ?? []).equals(expected), `${length} bytes at ${offset}`)
        }
      })

    it('and fails, or finds zeroes, is answered in step', async (t) => {
      const read = (offset: number, length: number, alloc: Alloc): Data => {
        const target = alloc(length).fill(0xee)
        if (offset % 3 === 0) throw new NbdError('EIO', 'no')
        return offset % 3 === 1 ? zeroes(length) : filled(target, offset)
      }
      const client = await connect(t, read, mode)
      for (let offset = 0; offset < 30; offset++)
        client.sendRequest({ type: NBD_CMD_READ, cookie: offset, offset, length: 4096 })
      for (let offset = 0; offset < 30; offset++) {
        const { cookie, error, data } = await client.reply()
        assert.deepEqual([cookie, error], [offset, offset % 3 === 0 ? NBD_EIO : 0])
        const expected = bytes.subarray(offset, offset + 4096)
        if (offset % 3 === 2) assert.ok((mode === 'simple' ? data : data.subarray(8)).equals(expected))
      }
    })
  })
