/** Large writes that are received into memory of the device. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { DeviceInit } from '../api/device.js'
import { NbdError } from '../api/errors.js'
import {
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLUSH,
  NBD_CMD_WRITE,
  NBD_ENOSPC,
  NBD_ESHUTDOWN,
} from '../protocol/constants.js'
import { encodeRequest } from '../testing/raw-client.js'
import { Disk, patterned, serve } from '../testing/served-disk.js'
import { receiveIntoPlaceBytes } from './tuning.js'

const length = 256 * 1024
const offset = 4096
const payload = patterned(length)

/** A disk that lends memory, and records the memory lent, written and given back. */
function windowedDisk(device: Partial<DeviceInit> = {}) {
  const lent: Uint8Array[] = []
  const written: Uint8Array[] = []
  const released: Uint8Array[] = []
  const disk: Disk = new Disk({
    size: 2 ** 20,
    device: {
      window(_at, size) {
        const view = new Uint8Array(size)
        lent.push(view)
        return view
      },
      release: (view) => void released.push(view),
      write(at, data) {
        disk.calls.push(`write ${data.length} at ${at}`)
        written.push(data)
        disk.bytes.set(data, at)
      },
      ...device,
    },
  })
  return { disk, lent, written, released }
}

async function clientOf(t: TestContext, disk: Disk) {
  const served = serve(t, disk)
  const client = await served.connectSocket()
  await client.go()
  return { served, client }
}

const request = { type: NBD_CMD_WRITE, cookie: 7, offset, length, payload }

describe('a large write', () => {
  it('is received into the memory that the device lends for it', async (t) => {
    const { disk, lent, written, released } = windowedDisk()
    const { client } = await clientOf(t, disk)
    for (let count = 0; count < 5; count++) {
      client.sendRequest({ ...request, flags: count === 3 ? NBD_CMD_FLAG_FUA : 0 })
      assert.equal((await client.reply()).error, 0)
      assert.ok(disk.bytes.subarray(offset, offset + length).equals(payload))
      disk.bytes.fill(0)
    }
    assert.equal(lent.length, 5)
    for (const [index, view] of lent.entries()) {
      assert.equal(written[index], view)
      assert.equal(released[index], view)
    }
    assert.equal(released.length, 5)
  })

  it('keeps what the device lends until the write is done, and gives it back once when it fails', async (t) => {
    for (const fails of [false, true]) {
      let settle: (() => void) | undefined
      const write = async () => {
        await new Promise<void>((resolve) => {
          settle = resolve
        })
        if (fails) throw new NbdError('ENOSPC', 'no room')
      }
      const { disk, lent, released } = windowedDisk({ write })
      const { client } = await clientOf(t, disk)
      client.sendRequest(request)
      while (settle === undefined) await turn()
      assert.deepEqual(released, [])
      settle()
      assert.equal((await client.reply()).error, fails ? NBD_ENOSPC : 0)
      assert.deepEqual([released.length, released[0] === lent[0]], [1, true])
    }
  })

  it('gives back what the device lends when the write throws, and says when that throws too', async (t) => {
    const { disk } = windowedDisk({
      write() {
        throw new NbdError('ENOSPC', 'no room')
      },
      release() {
        throw new Error('it cannot be taken back')
      },
    })
    const { served, client } = await clientOf(t, disk)
    client.sendRequest(request)
    assert.equal((await client.reply()).error, NBD_ENOSPC)
    assert.ok(served.errors.some((message) => message.includes('it cannot be taken back')))
  })

  it('is copied where the device lends nothing', async (t) => {
    const { disk } = windowedDisk({ window: () => undefined })
    const { client } = await clientOf(t, disk)
    client.sendRequest(request)
    assert.equal((await client.reply()).error, 0)
    assert.ok(disk.bytes.subarray(offset, offset + length).equals(payload))
  })

  it('is copied where the memory is not of its length, and the log tells', async (t) => {
    const { disk } = windowedDisk({ window: () => new Uint8Array(length - 1) })
    const { served, client } = await clientOf(t, disk)
    client.sendRequest(request)
    assert.equal((await client.reply()).error, 0)
    assert.ok(disk.bytes.subarray(offset, offset + length).equals(payload))
    assert.deepEqual(served.errors, [`disk: window ${length} at ${offset} returned ${length - 1} bytes`])
  })

  it('is answered by write, whatever the device says when it is asked for memory', async (t) => {
    const { disk } = windowedDisk({
      window() {
        throw new NbdError('ENOSPC', 'no memory')
      },
    })
    const { served, client } = await clientOf(t, disk)
    client.sendRequest(request)
    assert.equal((await client.reply()).error, 0)
    assert.deepEqual(served.errors, [])
  })

  it('never asks for memory when little of it is still to come', async (t) => {
    const { disk, lent } = windowedDisk()
    const { client } = await clientOf(t, disk)
    const size = receiveIntoPlaceBytes - 1
    client.sendRequest({ ...request, length: size, payload: payload.subarray(0, size) })
    assert.equal((await client.reply()).error, 0)
    assert.deepEqual(lent, [])
  })

  it('that has not come whole at a soft disconnect is refused, and what was lent is given back', async (t) => {
    const { disk, lent, released } = windowedDisk()
    const { served, client } = await clientOf(t, disk)
    const before = Buffer.from(disk.bytes)
    const bytes = encodeRequest(request, false)
    client.send(bytes.subarray(0, 100_000))
    while (lent.length === 0) await turn()
    for (const connection of served.server.connections) connection.disconnect(false)
    client.send(bytes.subarray(100_000))
    client.sendRequest({ type: NBD_CMD_FLUSH, cookie: 8 })
    assert.deepEqual(
      [await client.reply(), await client.reply()].map(({ error }) => error),
      [NBD_ESHUTDOWN, NBD_ESHUTDOWN],
    )
    assert.ok(disk.bytes.equals(before))
    assert.deepEqual(disk.calls, [])
    assert.deepEqual([released.length, released[0] === lent[0]], [1, true])
  })

  it('whose client dies in the middle never reaches write, and what was lent is given back first', async (t) => {
    let closedBefore: number | undefined
    const released: Uint8Array[] = []
    const { disk, lent } = windowedDisk({
      release(view) {
        released.push(view)
        closedBefore = disk.closed
      },
    })
    const { served, client } = await clientOf(t, disk)
    client.send(encodeRequest(request, false).subarray(0, 100_000))
    while (lent.length === 0) await turn()
    client.stream.destroy()
    while (served.server.connections.size > 0) await turn()
    assert.deepEqual(disk.calls, [])
    assert.equal(disk.closed, 1)
    assert.deepEqual([released.length, released[0] === lent[0], closedBefore], [1, true, 0])
  })
})
