import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import {
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_ESHUTDOWN,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_REP_ERR_SHUTDOWN,
} from '../../protocol/constants.js'
import { deviceContract, infoData, openDevice, type RawClient } from '../../testing/index.js'
import { encodeRequest } from '../../testing/raw-client.js'
import { Disk, serve } from '../../testing/served-disk.js'
import timeLimit from './time-limit.js'

const limit = 5000

/** A real server with clients on a real socket. Its clock advances only with `pass`. */
async function connected(t: TestContext, options: { disk?: Disk; limit?: number } = {}) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  const { disk = new Disk() } = options
  const served = serve(t, disk, { filters: [timeLimit({ limit: options.limit ?? limit })] })
  const client = await served.connectSocket()
  const [connection] = served.server.connections
  assert.ok(connection)
  return { ...served, disk, client, connection, pass: (ms: number) => pass(t, ms) }
}

/** Advances the time in small steps, because callbacks in between may start timers. */
async function pass(t: TestContext, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    t.mock.timers.tick(Math.min(left, 100))
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
  }
}

/** Asserts that the server sends nothing more and closes the connection. */
async function isDropped(client: RawClient): Promise<void> {
  await assert.rejects(client.take(1), /the server closed the connection/)
}

const read = { type: NBD_CMD_READ, offset: 0, length: 512 }

const idle: [what: string, goOn: (client: RawClient) => Promise<unknown>][] = [
  ['does not answer the greeting', (client) => client.take(18)],
  ['has asked for no export', (client) => client.greet()],
  [
    'was told of exports, and does not go on',
    async (client) => {
      await client.greet()
      await client.option(NBD_OPT_LIST)
      await client.option(NBD_OPT_INFO, infoData('a'))
      await client.option(NBD_OPT_INFO, infoData('b'))
    },
  ],
  ['sends no requests', (client) => client.go()],
]
for (const [what, goOn] of idle)
  test(`time-limit drops a client softly that ${what}`, async (t) => {
    const { client, connection, pass } = await connected(t)
    await goOn(client)
    await pass(limit - 1)
    assert.ok(['greeting', 'options', 'transmission'].includes(connection.state))
    await pass(1500)
    await isDropped(client)
    await connection.closed
    assert.equal(connection.signal.aborted, false)
  })

test('time-limit that ends in the handshake lets no option reach an export', async (t) => {
  const { client, connection, disk, pass } = await connected(t)
  await client.greet()
  await pass(limit)
  const [refused] = await client.option(NBD_OPT_GO, infoData(''))
  assert.equal(refused?.type, NBD_REP_ERR_SHUTDOWN)
  assert.deepEqual(disk.opened, [])
  await pass(1500)
  await isDropped(client)
  await connection.closed
})

test('time-limit refuses later requests, and answers those in flight', async (t) => {
  const { client, connection, disk, pass } = await connected(t, { disk: new Disk({ answers: 'by hand' }) })
  await client.go()
  client.sendRequest({ ...read, cookie: 1 })
  await disk.holds(1)
  await pass(limit)
  assert.equal(connection.state, 'draining')
  client.sendRequest({ ...read, cookie: 2 })
  const { cookie, error } = await client.reply()
  assert.deepEqual([cookie, error], [2, NBD_ESHUTDOWN])
  disk.release()
  assert.equal((await client.reply()).cookie, 1)
  await pass(1500)
  await isDropped(client)
  assert.equal(connection.signal.aborted, false)
})

test('time-limit drops a client in the middle of a payload, however often it sends a little more', async (t) => {
  const { client, connection, pass } = await connected(t)
  await client.go()
  const bytes = encodeRequest({ type: NBD_CMD_WRITE, length: 4096, payload: Buffer.alloc(4096) })
  client.send(bytes.subarray(0, 1000))
  const timer = setInterval(() => client.send(bytes.subarray(1000, 1001)), 500)
  await pass(limit + 3500)
  clearInterval(timer)
  await isDropped(client)
  assert.equal(connection.signal.aborted, true)
})

test('time-limit drops a client that does not take its replies', async (t) => {
  const { client, connection, pass } = await connected(t, { disk: new Disk({ size: 2 ** 23 }) })
  await client.go()
  client.stream.pause()
  client.sendRequest({ ...read, length: 2 ** 23 })
  await pass(limit + 3500)
  await connection.closed
  assert.equal(connection.signal.aborted, true)
})

test('time-limit runs for each client by itself', async (t) => {
  const { client, connectSocket, server, pass } = await connected(t)
  await client.go()
  await pass(limit - 1000)
  const next = await connectSocket()
  await next.go()
  await pass(2500)
  await isDropped(client)
  const [connection] = server.connections
  assert.equal(connection?.state, 'transmission')
  await pass(limit)
  await isDropped(next)
})

test('time-limit leaves a client alone that is done in time, and then stops its clock', async (t) => {
  const { client, connection, pass, errors } = await connected(t)
  await client.go()
  const [reply] = await client.request({ ...read, cookie: 1 })
  assert.equal(reply?.error, 0)
  client.stream.end()
  await connection.closed
  await pass(2 * limit)
  assert.deepEqual(errors, [])
})

test('time-limit is 60 seconds unless given, and a bare number is seconds on the command line', () => {
  const { limit } = timeLimit.definition.params
  assert.deepEqual([limit.default, limit.keys], [60_000, ['time-limit', 'time_limit', 'timelimit']])
  assert.equal(limit.parse('2'), 2000)
})

test('time-limit of 0 is none', async (t) => {
  const { client, connection, pass } = await connected(t, { limit: 0 })
  await client.go()
  await pass(50_000)
  assert.equal(connection.state, 'transmission')
})

test('time-limit meets the contract of a device', async () => {
  const device = await openDevice(new Disk().plugin, [timeLimit()])
  await deviceContract(device)
  await device.close()
})

test('time-limit refuses a time that is none, and names the key', async () => {
  await assert.rejects(openDevice(new Disk().plugin, [timeLimit({ limit: 'later' })]), {
    name: 'ConfigError',
    message: /^time-limit: time-limit: could not parse delay "later"/,
  })
})
