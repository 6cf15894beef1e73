/** The promise S10 of docs/lifecycle.md: whatever a layer throws, in any callback and phase. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  createServer,
  definePlugin,
  type Extent,
  type Log,
  type PluginInstance,
  type ServerContext,
} from '../../src/index.js'
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EIO,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_REP_ACK,
  NBD_REP_ERR_PLATFORM,
  NBD_REP_ERR_UNKNOWN,
} from '../../src/protocol/constants.js'
import { infoData, type RawClient } from '../../src/testing/index.js'
import { collectedLog, isGone, onPair, onSocket, read, turns } from './helpers.js'

function revoked(of: object): object {
  const { proxy, revoke } = Proxy.revocable(of, {})
  revoke()
  return proxy
}

class Unspeakable extends Error {
  override get message(): string {
    throw new Error('it has none')
  }
}

const values: [what: string, value: unknown][] = [
  ['an object without a prototype', Object.create(null)],
  [
    'an object whose toString throws',
    {
      toString() {
        throw new Error('not me')
      },
    },
  ],
  ['an object whose toString gives no text', { toString: () => ({}) }],
  ['a proxy that is revoked', revoked({})],
  ['an error behind a proxy that is revoked', revoked(new Error('gone'))],
  ['an error whose message throws', new Unspeakable()],
  ['an error whose message is no text', Object.assign(new Error('x'), { message: Object.create(null) })],
  ['an error whose code is no text', Object.assign(new Error('x'), { code: Object.create(null) })],
  ['a symbol', Symbol('why')],
  ['undefined', undefined],
  ['null', null],
  [
    'an endless chain of causes',
    Object.assign(new Error('x'), {
      get cause() {
        return this
      },
    }),
  ],
]

/** At once, or by a Promise. */
const ways: [how: string, fail: (value: unknown) => never | Promise<never>][] = [
  [
    'throws',
    (value) => {
      throw value
    },
  ],
  ['rejects with', (value) => Promise.reject(value)],
]

type Callback =
  | 'accept'
  | 'exports'
  | 'defaultExport'
  | 'open'
  | 'device'
  | 'extents'
  | 'close'
  | 'closeLayer'

/** A disk of which one callback fails. */
function failing(callback: Callback | undefined, fail: () => never | Promise<never>) {
  const of = <T>(mine: Callback, otherwise: () => T): T => (mine === callback ? (fail() as T) : otherwise())
  const instance: PluginInstance = {
    accept: () => of('accept', () => {}),
    exports: () => of('exports', () => [{ name: 'disk' }]),
    defaultExport: () => of('defaultExport', () => 'disk'),
    open: () =>
      of('open', () => ({
        size: 4096,
        read: (_offset, length) => of('device', () => new Uint8Array(length)),
        write: () => of('device', () => {}),
        flush: () => of('device', () => {}),
        trim: () => of('device', () => {}),
        zero: () => of('device', () => {}),
        cache: () => of('device', () => {}),
        extents: (_offset, length) => (callback === 'extents' ? failingRuns(fail) : [{ length, type: 0 }]),
        close: () => of('close', () => {}),
      })),
    close: () => of('closeLayer', () => {}),
  }
  return definePlugin({ name: 'disk', description: '', params: {}, setup: () => instance })()
}

/** In the middle, where it fails at once. */
function failingRuns(fail: () => never | Promise<never>): Iterable<Extent> | Promise<never> {
  const failed = (() => {
    try {
      return { promise: fail() }
    } catch (error) {
      return { error }
    }
  })()
  if ('promise' in failed) return failed.promise
  return (function* () {
    yield { length: 512, type: 0 }
    throw failed.error
  })()
}

const requests = [
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_CMD_FLUSH,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE_ZEROES,
  NBD_CMD_CACHE,
].map((type, cookie) => {
  const isWrite = type === NBD_CMD_WRITE
  return {
    type,
    cookie,
    length: type === NBD_CMD_FLUSH ? 0 : 512,
    ...(isWrite && { payload: new Uint8Array(512) }),
  }
})

const errorOf = async (client: RawClient, request: Parameters<RawClient['request']>[0]) =>
  (await client.request(request)).map(({ error }) => error).find((error) => error !== 0)

/** What becomes of a client where a callback fails. */
const fates: Record<Callback, (client: RawClient) => Promise<void>> = {
  accept: isGone,
  async exports(client) {
    await client.greet()
    assert.equal((await client.option(NBD_OPT_LIST)).at(-1)?.type, NBD_REP_ERR_PLATFORM)
    assert.equal((await client.option(NBD_OPT_GO, infoData('disk'))).at(-1)?.type, NBD_REP_ACK)
  },
  async defaultExport(client) {
    await client.greet()
    assert.equal((await client.option(NBD_OPT_INFO, infoData(''))).at(-1)?.type, NBD_REP_ERR_UNKNOWN)
    assert.equal((await client.option(NBD_OPT_GO, infoData('disk'))).at(-1)?.type, NBD_REP_ACK)
  },
  async open(client) {
    await client.greet()
    assert.equal((await client.option(NBD_OPT_GO, infoData('disk'))).at(-1)?.type, NBD_REP_ERR_UNKNOWN)
    assert.equal((await client.option(NBD_OPT_LIST)).at(-1)?.type, NBD_REP_ACK)
  },
  async device(client) {
    await client.go({ structured: true })
    for (const request of requests) assert.equal(await errorOf(client, request), NBD_EIO)
  },
  async extents(client) {
    await client.go({ structured: true, contexts: ['base:allocation'] })
    assert.equal(await errorOf(client, { type: NBD_CMD_BLOCK_STATUS, length: 4096 }), NBD_EIO)
    assert.equal(await errorOf(client, read(1)), undefined)
  },
  async close(client) {
    await client.go()
    client.sendRequest({ type: NBD_CMD_DISC })
    await isGone(client)
  },
  async closeLayer(client) {
    await client.go()
  },
}

describe('S10 whatever a layer throws ends one request, or refuses one client', () => {
  for (const [what, value] of values)
    for (const [how, fail] of ways)
      it(`S10 each callback ${how} ${what}`, async (t) => {
        for (const [callback, fate] of Object.entries(fates)) {
          const { log } = collectedLog()
          const plugin = failing(callback as Callback, () => fail(value))
          const { server, client } = await onPair(t, { plugin, log })
          await fate(await client())
          assert.equal(server.state, 'serving', callback)
          await server.shutdown()
        }
      })

  for (const [what, value] of values)
    for (const [how, fail] of ways)
      it(`S10 setup and ready: the server does not start when one ${how} ${what}, and its layers are closed`, async () => {
        for (const when of ['setup', 'ready'] as const) {
          let closed = 0
          const plugin = definePlugin({
            ...{ name: 'disk', description: '', params: {} },
            setup: () => ({
              ready: () => (when === 'ready' ? fail(value) : undefined),
              open: () => ({ size: 0, read: () => [] }),
              close: () => void closed++,
            }),
          })
          const filter = { ...failingSetup(when === 'setup' ? () => fail(value) : () => ({})) }
          const server = createServer({ plugin: plugin(), filters: [filter] })
          // A rejection with undefined is one, too.
          const refused = await server.ready().then(
            () => false,
            () => true,
          )
          assert.deepEqual([refused, server.state, closed], [true, 'stopped', 1])
        }
      })

  for (const [what, value] of values)
    it(`S10 a listener of a signal that throws ${what}: the others are called`, async (t) => {
      const { log, errors } = collectedLog()
      const heard: string[] = []
      const listen = (signal: AbortSignal, name: string) => {
        signal.addEventListener('abort', () => {
          throw value
        })
        signal.addEventListener('abort', async () => {
          throw value
        })
        signal.onabort = () => {
          throw value
        }
        signal.addEventListener('abort', () => heard.push(name))
      }
      const plugin = definePlugin({
        ...{ name: 'disk', description: '', params: {} },
        setup(_values: object, { stopping }: ServerContext) {
          listen(stopping, 'stopping')
          return {
            open({ connection }) {
              listen(connection.signal, 'dropped')
              return { size: 512, read: (_offset, length) => new Uint8Array(length) }
            },
          }
        },
      })
      const { server, transmitting } = await onSocket(t, { plugin: plugin(), log })
      const { connection } = await transmitting()
      connection.disconnect(true)
      await connection.closed
      await server.shutdown()
      await turns()
      assert.deepEqual(heard, ['dropped', 'stopping'])
      assert.equal(errors.filter((error) => error.startsWith('a listener of ')).length, 6)
    })

  it('S10 a log that throws, and what is no text in a log', async (t) => {
    const said: unknown[] = []
    const fail = () => {
      throw new Error('the disk of the log is full')
    }
    const bad: Log = { debugging: true, debug: fail, error: fail, child: fail }
    const picky: Log = {
      debugging: true,
      debug: (message) => void said.push(message.trim()),
      error: (message) => void said.push(message.trim()),
      child: () => picky,
    }
    const plugin = definePlugin({
      ...{ name: 'disk', description: '', params: {} },
      setup: (_values: object, { log }: ServerContext) => ({
        open: () => ({
          size: 4096,
          read(_offset, length) {
            for (const [, value] of values) {
              log.error(value as string)
              log.debug(value as string)
            }
            return new Uint8Array(length)
          },
          write: fail,
        }),
      }),
    })
    for (const log of [bad, picky]) {
      const { server, transmitting } = await onSocket(t, { plugin: plugin(), log })
      const { client } = await transmitting()
      assert.equal(await errorOf(client, read(1)), undefined)
      assert.equal(
        await errorOf(client, { type: NBD_CMD_WRITE, length: 512, payload: new Uint8Array(512) }),
        NBD_EIO,
      )
      await server.shutdown()
    }
    assert.ok(said.every((line) => typeof line === 'string'))
  })
})

function failingSetup(setup: () => object) {
  return {
    kind: 'filter',
    inputs: {},
    definition: { name: 'filter', description: '', params: {}, setup },
  } as const
}
