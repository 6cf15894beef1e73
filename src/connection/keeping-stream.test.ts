/** Streams that pass each chunk itself to a reader who keeps it: `stream.duplexPair`, or a user's own. */
import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { DeviceInit } from '../api/device.js'
import { NBD_CMD_READ, NBD_CMD_WRITE, NBD_OPT_GO } from '../protocol/constants.js'
import { encodeRequest, infoData, type RawRequest } from '../testing/raw-client.js'
import { Disk, serve } from '../testing/served-disk.js'

/** Calls back at once for each chunk, and keeps the chunk itself, not a copy. */
class Keeper extends Duplex {
  readonly kept: Uint8Array[] = []

  override _read() {}

  override _write(chunk: Uint8Array, _encoding: string, done: () => void) {
    this.kept.push(chunk)
    done()
  }

  get keptBytes(): number {
    return this.kept.reduce((sum, { length }) => sum + length, 0)
  }
}

const go = infoData('')
const option = Buffer.from('IHAVEOPT0000gggg')
option.writeUInt32BE(NBD_OPT_GO, 8)
option.writeUInt32BE(go.length, 12)
const handshake = Buffer.concat([Buffer.of(0, 0, 0, 3), option, go])

/** Sends each request when the last was answered. Returns the answers. */
async function run(disk: Disk, t: Parameters<typeof serve>[0], requests: readonly RawRequest[]) {
  const stream = new Keeper()
  await serve(t, disk).server.serve(stream)
  stream.push(handshake)
  let expected = 0
  const until = async (done: () => boolean) => {
    for (let turns = 0; !done(); turns++) {
      assert.ok(turns < 10_000, `${stream.keptBytes} bytes came, and no more`)
      await turn()
    }
  }
  await until(() => stream.keptBytes >= 18 + 20 + 12 + 20)
  // A chunk of the handshake may still arrive.
  await turn()
  const first = stream.keptBytes
  for (const request of requests) {
    stream.push(encodeRequest(request))
    expected += 16 + (request.type === NBD_CMD_READ ? Number(request.length ?? 0) : 0)
    await until(() => stream.keptBytes >= first + expected)
  }
  const all = Buffer.concat(stream.kept).subarray(first)
  let at = 0
  return requests.map(({ type, length = 0 }) => {
    const reply = all.subarray(at, at + 16 + (type === NBD_CMD_READ ? Number(length) : 0))
    at += reply.length
    return { cookie: Number(reply.readBigUInt64BE(8)), data: reply.subarray(16) }
  })
}

/** Each way in which data reaches a reply. */
const reads: Record<string, (memory: Buffer) => DeviceInit['read']> = {
  'fills what it was given': () => (offset, length, alloc) => alloc(length).fill(1 + (offset >> 20)),
  'fills what it was given, later': () => async (offset, length, alloc) => {
    await turn()
    return alloc(length).fill(1 + (offset >> 20))
  },
  'gives its own memory': (memory) => (offset, length) => {
    memory.fill(1 + (offset >> 20))
    return memory.subarray(0, length)
  },
  'gives several views of its own memory': (memory) => (offset, length) => {
    memory.fill(1 + (offset >> 20))
    return [memory.subarray(0, length / 2), memory.subarray(length / 2, length)]
  },
}

describe('a reply over a stream that keeps its chunks', () => {
  for (const [how, read] of Object.entries(reads))
    for (const length of [512, 32_768, 65_536, 300_000])
      it(`stays as it was written: ${length} bytes of a device that ${how}`, async (t) => {
        const device = { size: 2 ** 24, read: read(Buffer.alloc(300_000)) }
        const requests = Array.from({ length: 6 }, (_, cookie) => ({
          ...{ type: NBD_CMD_READ, cookie, offset: cookie * 2 ** 20, length },
        }))
        const replies = await run(new Disk({ device }), t, requests)
        for (const [index, { cookie, data }] of replies.entries()) {
          assert.equal(cookie, index)
          assert.ok(
            data.every((byte) => byte === 1 + index),
            `reply ${index} begins with ${data[0]}`,
          )
        }
      })

  it('is not changed by a write that follows', async (t) => {
    const disk = new Disk({ size: 2 ** 20 })
    disk.bytes.fill(1)
    const length = 100_000
    const payload = new Uint8Array(length).fill(2)
    const [before] = await run(disk, t, [
      { type: NBD_CMD_READ, cookie: 1, offset: 0, length },
      { type: NBD_CMD_WRITE, cookie: 2, offset: 0, length, payload },
    ])
    assert.ok(before?.data.every((byte) => byte === 1))
  })
})
