import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { ConnectionState } from '../../api/connection.js'
import { silentLog } from '../../api/log.js'
import { definePlugin } from '../../api/plugin.js'
import { noConnection, noServer } from '../../chain/setup.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import timeLimit from './time-limit.js'

const disk = new Uint8Array(65536)
const ram = definePlugin({
  name: 'ram',
  description: 'for tests',
  params: {},
  setup: () => ({
    open: () => ({
      size: disk.length,
      read: (offset: number, length: number) => disk.subarray(offset, offset + length),
      write: (offset: number, data: Uint8Array) => disk.set(data, offset),
    }),
  }),
})

/** A client with a clock that stands still. */
function client(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const calls: unknown[] = []
  const state: ConnectionState = 'transmission'
  const connection = {
    ...noConnection,
    id: 1,
    state: state as ConnectionState,
    /** As the server's own: without effect until the device is open. */
    disconnect(...call: unknown[]) {
      if (connection.state === 'options') return
      calls.push(call)
      connection.state = 'draining'
    },
  }
  return {
    connection,
    pass: (ms: number) => t.mock.timers.tick(ms),
    disconnects: () => calls,
  }
}

const soft = [false, { lingerMs: 1000 }]

test('time-limit drops a client softly when its time is up, and not before', async (t) => {
  const { connection, pass, disconnects } = client(t)
  const device = await openDevice(ram(), [timeLimit({ limit: 5000 })], { connection })
  pass(4999)
  assert.deepEqual(disconnects(), [])
  pass(1)
  assert.deepEqual(disconnects(), [soft])
  pass(100_000)
  assert.deepEqual(disconnects(), [soft])
  await device.close()
})

test('time-limit is 60 seconds unless given', async (t) => {
  const { connection, pass, disconnects } = client(t)
  const device = await openDevice(ram(), [timeLimit()], { connection })
  pass(59_999)
  assert.deepEqual(disconnects(), [])
  pass(1)
  assert.deepEqual(disconnects(), [soft])
  await device.close()
})

test('time-limit reads a bare number as seconds, as on the command line', async (t) => {
  assert.deepEqual(timeLimit.definition.params.limit.keys, ['time-limit', 'time_limit', 'timelimit'])
  const { connection, pass, disconnects } = client(t)
  const device = await openDevice(ram(), [timeLimit({ limit: '2' })], { connection })
  pass(2000)
  assert.deepEqual(disconnects(), [soft])
  await device.close()
})

test('time-limit does nothing to a client that left in time', async (t) => {
  const { connection, pass, disconnects } = client(t)
  const device = await openDevice(ram(), [timeLimit({ limit: 5000 })], { connection })
  pass(4999)
  await device.close()
  pass(10_000)
  assert.deepEqual(disconnects(), [])
})

test('time-limit of 0 is none', async (t) => {
  const { connection, pass, disconnects } = client(t)
  const device = await openDevice(ram(), [timeLimit({ limit: 0 })], { connection })
  pass(2 ** 31 - 1)
  assert.deepEqual(disconnects(), [])
  await device.close()
})

test('time-limit goes on when the same client opens the device again', async (t) => {
  const { connection, pass, disconnects } = client(t)
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const server = { ...noServer, log: silentLog }
  // Both devices belong to one server: an outer filter opens them one after the other.
  const filter = await timeLimit.definition.setup({ limit: 5000 }, server)
  const request = { exportName: '', readOnly: false, tls: false, connection }
  const inner = await openDevice(ram())
  const first = await filter.open?.(request, async () => inner)
  now = 3000
  pass(now)
  await first?.close?.()
  const second = await filter.open?.(request, async () => inner)
  pass(1999)
  assert.deepEqual(disconnects(), [])
  pass(1)
  assert.deepEqual(disconnects(), [soft])
  await second?.close?.()
})

test('time-limit that ends while the export is being opened holds as soon as it is open', async (t) => {
  const { connection, pass, disconnects } = client(t)
  connection.state = 'options'
  const device = await openDevice(ram(), [timeLimit({ limit: 10 })], { connection })
  pass(1000)
  assert.deepEqual(disconnects(), [])
  connection.state = 'transmission'
  pass(100)
  assert.deepEqual(disconnects(), [soft])
  await device.close()
})

test('time-limit leaves alone a device that was opened without a client', async (t) => {
  const { connection, pass, disconnects } = client(t)
  const device = await openDevice(ram(), [timeLimit({ limit: 10 })], { connection: { ...connection, id: 0 } })
  pass(1000)
  assert.deepEqual(disconnects(), [])
  await device.close()
})

test('time-limit meets the contract of a device', async () => {
  const device = await openDevice(ram(), [timeLimit()], { connection: { ...noConnection, id: 1 } })
  await deviceContract(device)
  await device.close()
})

test('time-limit refuses a time that is none, and names the key', async () => {
  await assert.rejects(openDevice(ram(), [timeLimit({ limit: 'later' })]), {
    name: 'ConfigError',
    message: /^time-limit: time-limit: could not parse delay "later"/,
  })
})
