import assert from 'node:assert/strict'
import { test } from 'node:test'
import { definePlugin } from '../../api/plugin.js'
import {
  NBD_CMD_DISC,
  NBD_OPT_ABORT,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_REP_ACK,
} from '../../protocol/constants.js'
import { createServer } from '../../server/server.js'
import { deviceContract, infoData, openDevice, pair, RawClient } from '../../testing/index.js'
import exitlast from './exitlast.js'

const disk = new Uint8Array(65536)
const ram = definePlugin({
  name: 'ram',
  description: 'for tests',
  params: {},
  setup: () => ({
    open(request) {
      if (request.exportName === 'none') throw new Error('there is no such export')
      return {
        size: disk.length,
        read: (offset: number, length: number) => disk.subarray(offset, offset + length),
        write: (offset: number, data: Uint8Array) => disk.set(data, offset),
      }
    },
  }),
})

function start() {
  const server = createServer({ plugin: ram(), filters: [exitlast()] })
  const connect = async () => {
    const [ours, theirs] = pair()
    await server.serve(ours)
    return new RawClient(theirs)
  }
  return { server, connect }
}

test('exitlast stops the server when its only client disconnects', async () => {
  const { server, connect } = start()
  const client = await connect()
  await client.go()
  client.sendRequest({ type: NBD_CMD_DISC })
  await server.stopped
  assert.equal(server.state, 'stopped')
})

test('exitlast stops the server when its only client is killed', async () => {
  const { server, connect } = start()
  const client = await connect()
  await client.go()
  client.stream.destroy()
  await server.stopped
})

test('exitlast waits for the last of several clients', async () => {
  const { server, connect } = start()
  const [first, second] = [await connect(), await connect()]
  await first.go()
  await second.go()
  first.sendRequest({ type: NBD_CMD_DISC })
  await first.closed
  assert.equal((await second.request({ type: 0, length: 512 }))[0]?.error, 0)
  assert.equal(server.state, 'serving')
  second.sendRequest({ type: NBD_CMD_DISC })
  await server.stopped
})

test('exitlast does not stop the server for a client that only looked at the list, or was refused', async () => {
  const { server, connect } = start()
  const looking = await connect()
  await looking.greet()
  await looking.option(NBD_OPT_LIST)
  await looking.option(NBD_OPT_INFO, infoData('none'))
  await looking.option(NBD_OPT_ABORT)
  await looking.closed
  const next = await connect()
  await next.go()
  assert.equal(server.state, 'serving')
  next.sendRequest({ type: NBD_CMD_DISC })
  await server.stopped
})

test('exitlast counts a client that asks about one export and opens another once', async () => {
  const { server, connect } = start()
  const client = await connect()
  await client.greet()
  assert.equal((await client.option(NBD_OPT_INFO, infoData('one'))).at(-1)?.type, NBD_REP_ACK)
  assert.equal((await client.option(NBD_OPT_INFO, infoData('two'))).at(-1)?.type, NBD_REP_ACK)
  assert.equal(server.state, 'serving')
  client.stream.destroy()
  await server.stopped
})

test('exitlast meets the contract of a device', async () => {
  const device = await openDevice(ram(), [exitlast()])
  await deviceContract(device)
  await device.close()
})
