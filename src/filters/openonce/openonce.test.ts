import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DeviceInit } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { defineFilter, definePlugin, type OpenRequest } from '../../api/plugin.js'
import memory from '../../plugins/memory/memory.js'
import { NBD_CMD_DISC, NBD_CMD_READ, NBD_CMD_WRITE } from '../../protocol/constants.js'
import { deviceContract, openDevice, type RawClient } from '../../testing/index.js'
import { Disk, serve } from '../../testing/served-disk.js'
import openonce from './openonce.js'

async function leave(client: RawClient): Promise<void> {
  client.sendRequest({ type: NBD_CMD_DISC })
  // The server ends its side when the connection has closed.
  await client.rest()
  client.stream.destroy()
}

test('openonce opens each export once, whatever the number of clients, and closes at the end', async (t) => {
  const disk = new Disk()
  const { connectSocket, server } = serve(t, disk, { filters: [openonce()] })
  for (const name of ['a', 'b', 'a', 'b']) {
    const client = await connectSocket()
    await client.go({ name })
    const [reply] = await client.request({ type: NBD_CMD_READ, cookie: 1, length: 512 })
    assert.ok(reply?.data.equals(disk.bytes.subarray(0, 512)))
    await leave(client)
  }
  assert.deepEqual(
    disk.opened.map(({ exportName }) => exportName),
    ['a', 'b'],
  )
  assert.equal(disk.closed, 0)
  await server.shutdown()
  assert.equal(disk.closed, 2)
})

test('openonce opens once for clients that come at the same time', async (t) => {
  let opened = 0
  const disk = new Disk({
    plugin: {
      async open(): Promise<DeviceInit> {
        opened++
        await new Promise(setImmediate)
        return { size: 512, read: (_offset, length, alloc) => alloc(length) }
      },
    },
  })
  const { connect } = serve(t, disk, { filters: [openonce()] })
  const clients = [connect(), connect(), connect()]
  await Promise.all(clients.map((client) => client.go()))
  assert.equal(opened, 1)
})

/** A filter above that changes the request by the name of the export: `r` and `t` in it. */
const byName = defineFilter({
  name: 'by-name',
  description: 'for tests',
  params: {},
  setup: () => ({
    open: (request, next) => {
      const { exportName: name } = request
      return next({ ...request, exportName: 'x', readOnly: name.includes('r'), tls: name.includes('t') })
    },
  }),
})

test('openonce tells read-only from writable, and encrypted from plain', async (t) => {
  const disk = new Disk()
  const { connect } = serve(t, disk, { filters: [byName(), openonce()] })
  for (const name of ['-', 'r', 't', 'rt', '-', 'r', 't', 'rt']) await connect().go({ name })
  const seen = disk.opened.map(({ exportName, readOnly, tls }: OpenRequest) => ({
    exportName,
    readOnly,
    tls,
  }))
  assert.deepEqual(seen, [
    { exportName: 'x', readOnly: false, tls: false },
    { exportName: 'x', readOnly: true, tls: false },
    { exportName: 'x', readOnly: false, tls: true },
    { exportName: 'x', readOnly: true, tls: true },
  ])
})

test('openonce opens without a client, who may be gone long before the device', async (t) => {
  const disk = new Disk()
  const { connect } = serve(t, disk, { filters: [openonce()] })
  await connect().go()
  assert.equal(disk.opened[0]?.connection.id, 0)
})

test('openonce tries again after an export that could not be opened', async (t) => {
  let refuses = true
  const disk = new Disk({ refuses: () => refuses })
  const { connect, errors } = serve(t, disk, { filters: [openonce()] })
  await assert.rejects(connect().go(), /there is no disk/)
  refuses = false
  await connect().go()
  await connect().go()
  assert.equal(disk.opened.length, 1)
  assert.equal(errors.length, 1)
})

test('openonce keeps what one client wrote for the next one', async (t) => {
  const bytes = () => {
    const data = Buffer.alloc(4096)
    return {
      size: data.length,
      read: (offset: number, length: number) => data.subarray(offset, offset + length),
      write: (offset: number, from: Uint8Array) => data.set(from, offset),
    }
  }
  const own = definePlugin({
    name: 'own',
    description: 'for tests',
    params: {},
    setup: () => ({ open: bytes }),
  })
  const { connectSocket } = serve(t, new Disk(), { plugin: own(), filters: [openonce()] })
  const payload = Buffer.alloc(512, 7)
  const one = await connectSocket()
  await one.go()
  await one.request({ type: NBD_CMD_WRITE, cookie: 1, length: 512, payload })
  await leave(one)
  const two = await connectSocket()
  await two.go()
  const [reply] = await two.request({ type: NBD_CMD_READ, cookie: 1, length: 512 })
  assert.ok(reply?.data.equals(payload))
})

for (const [concurrency, most] of [
  ['serialize-requests', 1],
  ['parallel', 2],
] as const)
  test(`openonce over ${concurrency} has ${most} of two clients' requests in flight`, async (t) => {
    const disk = new Disk({ answers: 'by hand', plugin: { concurrency } })
    const { connect } = serve(t, disk, { filters: [openonce()] })
    const clients = [connect(), connect()]
    for (const client of clients) {
      await client.go()
      client.sendRequest({ type: NBD_CMD_READ, cookie: 1, length: 512 })
    }
    await disk.holds(most)
    // Any other call that could come has come by then.
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(disk.held.length, most)
    for (let answered = 0; answered < 2; answered++) {
      await disk.holds(1)
      disk.release()
    }
    for (const client of clients) assert.equal((await client.reply()).error, 0)
  })

test('openonce ends the layer below although one of its devices cannot be closed', async (t) => {
  let closed = 0
  const disk = new Disk({
    device: {
      close() {
        closed++
        throw new NbdError('EIO', 'it is stuck')
      },
    },
  })
  const { connect, server, errors } = serve(t, disk, { filters: [openonce()] })
  await connect().go({ name: 'a' })
  await connect().go({ name: 'b' })
  await server.shutdown()
  assert.equal(closed, 2)
  assert.deepEqual(
    errors.map((message) => /it is stuck/.test(message)),
    [true, true],
  )
})

test('openonce meets the contract of a device, and lends the memory of the disk below', async () => {
  const device = await openDevice(memory({ size: '1M' }), [openonce()])
  assert.equal(device.window(0, 65536)?.length, 65536)
  await device.close()
  const another = await openDevice(memory({ size: '1M' }), [openonce()])
  await deviceContract(another)
  await another.close()
})
