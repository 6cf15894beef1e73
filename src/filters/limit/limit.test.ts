import assert from 'node:assert/strict'
import { test } from 'node:test'
import memory from '../../plugins/memory/memory.js'
import { createServer } from '../../server/server.js'
import { openDevice, pair, RawClient } from '../../testing/index.js'
import { until } from '../../testing/until.js'
import limit from './limit.js'

function serverWith(most: number | undefined) {
  const server = createServer({
    plugin: memory({ size: '1M' }),
    filters: [limit(most === undefined ? {} : { limit: most })],
  })
  const connect = () => {
    const [ours, theirs] = pair()
    server.serve(theirs).catch(() => {})
    return new RawClient(ours)
  }
  return { server, connect }
}

test('limit refuses a client without a byte where as many are connected as may be, and takes one when another leaves', async () => {
  const { server, connect } = serverWith(2)
  const [first, second] = [connect(), connect()]
  await first.go()
  await second.go()
  assert.equal((await connect().rest()).length, 0)
  first.stream.destroy()
  await until(() => server.connections.size === 1)
  const next = connect()
  await next.go()
  await server.shutdown({ graceMs: 0 })
})

test('limit of one is the default', async () => {
  const { server, connect } = serverWith(undefined)
  await connect().go()
  assert.equal((await connect().rest()).length, 0)
  await server.shutdown({ graceMs: 0 })
})

test('limit refuses an export to a client that was greeted before others came', async () => {
  const { server, connect } = serverWith(1)
  const early = connect()
  await early.greet()
  await connect().go()
  const [reply] = await early.option(7, Buffer.from([0, 0, 0, 0, 0, 0]))
  assert.match(String(reply?.data), /limit: 1 clients are connected, which is the limit/)
  await server.shutdown({ graceMs: 0 })
})

test('limit of 0 is none', async () => {
  const { server, connect } = serverWith(0)
  for (let count = 0; count < 10; count++) await connect().go()
  assert.equal(server.connections.size, 10)
  await server.shutdown({ graceMs: 0 })
})

test('limit refuses what is no number', async () => {
  for (const wrong of ['-1', 'many', '4294967296'])
    await assert.rejects(
      openDevice(memory({ size: 512 }), [limit({ limit: wrong })]),
      /^ConfigError: limit: /,
    )
})
