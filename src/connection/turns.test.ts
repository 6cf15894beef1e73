/** Clients beside a client that sends many requests at once. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { NBD_CMD_READ, NBD_CMD_TRIM, NBD_CMD_WRITE } from '../protocol/constants.js'
import { encodeRequest } from '../testing/raw-client.js'
import { Disk, serve } from '../testing/served-disk.js'
import { receiveBytes } from './tuning.js'

/** Blocks the event loop for `ms`. */
function keepBusy(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

const count = 200

describe('a client that sends many slow requests at once', () => {
  for (const type of [NBD_CMD_TRIM, NBD_CMD_READ, NBD_CMD_WRITE])
    it(`leaves turns to others between them: requests of type ${type}`, async (t) => {
      const order: string[] = []
      const slow = (who: string) => {
        order.push(who)
        if (who === 'many') keepBusy(2)
      }
      const whose = (offset: number) => (offset === 0 ? 'one' : 'many')
      const disk = new Disk({
        device: {
          read: (offset, length, alloc) => {
            slow(whose(offset))
            return alloc(length)
          },
          write: (offset) => slow(whose(offset)),
          trim: (offset) => slow(whose(offset)),
        },
      })
      const served = serve(t, disk)
      const [many, one] = [await served.connectSocket(), await served.connectSocket()]
      await many.go()
      await one.go()
      const payload = type === NBD_CMD_WRITE ? new Uint8Array(64) : undefined
      const requests = Array.from({ length: count }, (_, cookie) => ({
        ...{ type, cookie, offset: 512, length: 64, ...(payload && { payload }) },
      }))
      many.expectReplies(requests)
      many.send(Buffer.concat(requests.map((request) => encodeRequest(request))))
      await one.request({ type: NBD_CMD_READ, length: 1 })
      assert.ok(order.length < count, `${order.length - 1} requests of another client were run before`)
      for (let cookie = 0; cookie < count; cookie++) assert.equal((await many.reply()).cookie, cookie)
      assert.equal(order.length, count + 1)
    })
})

describe('a client that is gone', () => {
  it('is noticed while its requests wait for others, and they reach no device', async (t) => {
    const disk = new Disk({ answers: 'by hand' })
    const served = serve(t, disk, { threads: 1 })
    const client = await served.connectSocket()
    await client.go()
    const requests = Array.from({ length: 10 }, (_, cookie) => ({ type: NBD_CMD_READ, cookie, length: 1 }))
    client.send(Buffer.concat(requests.map((request) => encodeRequest(request))))
    await disk.holds(1)
    const [connection] = served.server.connections
    client.stream.destroy()
    while (connection?.state !== 'closed') await turn()
    disk.release()
    while (served.server.connections.size > 0) await turn()
    assert.deepEqual(disk.calls, ['read 1 at 0'])
  })

  it('is noticed while nothing is read of it, as it has sent more than is kept', async (t) => {
    const disk = new Disk({ answers: 'by hand' })
    const served = serve(t, disk, { threads: 1 })
    const client = await served.connectSocket()
    await client.go()
    const payload = new Uint8Array(4096)
    const write = encodeRequest({ type: NBD_CMD_WRITE, length: payload.length, payload })
    const writes = Math.ceil((3 * receiveBytes) / write.length)
    for (let index = 0; index < writes; index++) client.send(write)
    await disk.holds(1)
    const [connection] = served.server.connections
    client.stream.destroy()
    while (connection?.state !== 'closed') await turn()
    disk.release()
    while (served.server.connections.size > 0) await turn()
    assert.deepEqual(disk.calls, ['write 4096 at 0'])
  })
})
