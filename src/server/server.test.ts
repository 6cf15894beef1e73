import assert from 'node:assert/strict'
import { once } from 'node:events'
import { fstatSync } from 'node:fs'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { ConfigError } from '../api/errors.js'
import { definePlugin } from '../api/plugin.js'
import type { ServerOptions } from '../api/server.js'
import { libc } from '../os/libc.js'
import nullPlugin from '../plugins/null/null.js'
import { RawClient } from '../testing/raw-client.js'
import { createServer } from './server.js'

const wrong: readonly (readonly [string, Partial<ServerOptions>, string])[] = [
  ['no thread at all', { threads: 0 }, 'threads: 0 is not an integer from 1 on'],
  ['half a thread', { threads: 1.5 }, 'threads: 1.5 is not an integer from 1 on'],
  ['busy polling before now', { busyPollUs: -1 }, 'busyPollUs: -1 is not a number from 0 to 1000'],
  ['busy polling for ever', { busyPollUs: 1001 }, 'busyPollUs: 1001 is not a number from 0 to 1000'],
  [
    'busy polling for no number',
    { busyPollUs: Number.NaN },
    'busyPollUs: NaN is not a number from 0 to 1000',
  ],
]

describe('a server', () => {
  for (const [what, options, message] of wrong)
    it(`refuses to be ready with ${what}`, async () => {
      const server = createServer({ plugin: nullPlugin(), ...options })
      await assert.rejects(
        server.ready(),
        (error) => error instanceof ConfigError && error.message === message,
      )
      assert.equal(server.state, 'stopped')
    })

  it('serves a client on the descriptor of a socket, and takes it over', async (t) => {
    const server = createServer({ plugin: nullPlugin({ size: 512 }) })
    const handOver = createTcpServer({ pauseOnConnect: true })
    t.after(() => handOver.close())
    await new Promise<void>((resolve) => handOver.listen(0, '127.0.0.1', resolve))
    const client = connect((handOver.address() as AddressInfo).port, '127.0.0.1')
    const [accepted] = (await once(handOver, 'connection')) as [Socket & { _handle: { fd: number } }]
    const fd = libc()?.duplicate(accepted._handle.fd) ?? assert.fail('koffi is missing')
    accepted.destroy()
    const connection = await server.serve({ fd })
    assert.equal(connection.peer.address, '127.0.0.1')
    const raw = new RawClient(client)
    assert.equal((await raw.go()).size, 512)
    await server.shutdown()
    await raw.rest()
    assert.throws(() => fstatSync(fd), { code: 'EBADF' })
    client.destroy()
  })

  for (const fd of [-1, 987_654])
    it(`refuses to serve on descriptor ${fd}, which is no socket`, async () => {
      await using server = createServer({ plugin: nullPlugin() })
      await assert.rejects(
        server.serve({ fd }),
        (error) => error instanceof ConfigError && error.message.startsWith(`file descriptor ${fd} is no`),
      )
    })

  it('tells when a shutdown begins, whoever asks for it', async () => {
    const server = createServer({ plugin: nullPlugin() })
    let begun = false
    void server.stopping.then(() => {
      begun = true
    })
    await server.ready()
    assert.equal(begun, false)
    const stopped = server.shutdown()
    await server.stopping
    assert.notEqual(server.state, 'stopped')
    await stopped
  })

  it('that is one of several threads refuses layers that want one request of all at a time', async () => {
    const plugin = definePlugin({
      ...{ name: 'strict', description: '', params: {}, concurrency: 'serialize-connections' },
      setup: () => ({ open: () => ({ size: 0, read: () => [] }) }),
    })
    await assert.rejects(createServer({ plugin: plugin(), shared: [] }).ready(), {
      message: 'a concurrency of serialize-connections cannot be kept by several threads',
    })
  })
})
