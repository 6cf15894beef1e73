/** The promises of docs/lifecycle.md about a server, S1 to S12. S13 is in tests/languages. */

import assert, { AssertionError } from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { quietMs } from '../../src/connection/connection.js'
import {
  type Concurrency,
  ConfigError,
  createServer,
  defineFilter,
  type FilterInstance,
  type Layer,
  NbdError,
  type Server,
  type ServerOptions,
  StuckError,
} from '../../src/index.js'
import {
  NBD_CMD_FLUSH,
  NBD_EIO,
  NBD_ESHUTDOWN,
  NBD_OPT_GO,
  NBD_OPT_LIST,
  NBD_REP_ERR_SHUTDOWN,
} from '../../src/protocol/constants.js'
import { infoData, RawClient } from '../../src/testing/index.js'
import { until } from '../../src/testing/until.js'
import {
  type Actions,
  aborted,
  actedDisk,
  answer,
  collectedLog,
  Door,
  isGone,
  onPair,
  onSocket,
  read,
  soon,
  turns,
  write,
} from './helpers.js'

/** A filter whose own close is seen, and that otherwise does what `instance` says. */
function filter(
  name: string,
  journal: string[],
  instance: FilterInstance = {},
  setup = () => {},
): Layer<'filter'> {
  return defineFilter({
    name,
    description: '',
    params: {},
    setup() {
      setup()
      return {
        async open(request, next) {
          const device = await next(request)
          return {
            ...device,
            close: () => void journal.push(`close ${name} of ${request.connection.exportName}`),
          }
        },
        close: () => void journal.push(`close ${name}`),
        ...instance,
      }
    },
  })()
}

/** A filter through which each read and write passes, without a Promise of its own. */
function passing(name: string): Layer<'filter'> {
  return defineFilter({
    name,
    description: '',
    params: {},
    setup: () => ({
      async open(request, next) {
        const device = await next(request)
        return {
          ...device,
          read: (offset, length, alloc) => device.read(offset, length, alloc),
          write: (offset, data, flags) => device.write(offset, data, flags),
        }
      },
    }),
  })()
}

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'lifecycle-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return directory
}

/** What a client is told that comes now: its errno. */
function comeNow(target: { path: string } | { port: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(target as { path: string })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
    socket.once('connect', () => reject(new Error('a client was let in')))
  })
}

describe('S1 until it is ready a layer refuses by throwing ConfigError', () => {
  const refuse = () => {
    throw new ConfigError('not today')
  }
  const refusals: [when: string, closed: string[], options: (journal: string[]) => ServerOptions][] = [
    ['in setup of the plugin', [], () => ({ plugin: actedDisk({ setup: refuse }) })],
    [
      'in setup of a filter: the layers below are closed',
      ['close middle', 'close disk'],
      (journal) => ({
        plugin: actedDisk({}, journal),
        filters: [filter('outer', journal, {}, refuse), filter('middle', journal)],
      }),
    ],
    [
      'in ready: all layers are closed',
      ['close outer', 'close disk'],
      (journal) => ({ plugin: actedDisk({ ready: refuse }, journal), filters: [filter('outer', journal)] }),
    ],
  ]
  for (const [when, closed, options] of refusals)
    it(`S1 ${when}`, async (t) => {
      const journal: string[] = []
      const path = join(scratch(t), 'socket')
      const server = createServer(options(journal))
      await assert.rejects(server.listen({ path }), new ConfigError('not today'))
      assert.equal(server.state, 'stopped')
      await server.stopped
      assert.deepEqual(journal, closed)
      assert.ok(!existsSync(path))
    })

  it('S1 a layer whose concurrency is unknown closes all of them too', async () => {
    const journal: string[] = []
    const filters = [filter('outer', journal, { concurrency: 'often' as Concurrency })]
    const server = createServer({ plugin: actedDisk({}, journal), filters })
    await assert.rejects(server.ready(), ConfigError)
    assert.deepEqual(journal, ['close outer', 'close disk'])
  })
})

describe('S2 shutdown() before it serves', () => {
  it('S2 from setup of the plugin: nothing ever listens, and every layer is closed', async (t) => {
    const journal: string[] = []
    const plugin = actedDisk({ setup: (server) => server.shutdown() }, journal)
    const server = createServer({ plugin, filters: [filter('outer', journal)] })
    const path = join(scratch(t), 'socket')
    await server.listen({ path })
    assert.ok(!existsSync(path))
    await server.stopped
    assert.deepEqual(journal, ['close outer', 'close disk'])
  })

  it('S2 from the program, while a layer is set up', async (t) => {
    const journal: string[] = []
    const door = new Door()
    const server = createServer({ plugin: actedDisk({ ready: door.wait }, journal) })
    const path = join(scratch(t), 'socket')
    const listening = server.listen({ path })
    await door.reached
    const stopped = server.shutdown()
    assert.deepEqual(journal, [])
    door.open()
    await Promise.all([listening, stopped])
    assert.ok(!existsSync(path))
    assert.deepEqual(journal, ['close disk'])
  })

  it('S2 before anything was set up: nothing ever is', async (t) => {
    const journal: string[] = []
    let setUp = false
    const setup = () => {
      setUp = true
    }
    const server = createServer({ plugin: actedDisk({ setup }, journal) })
    await server.shutdown()
    assert.equal(server.state, 'stopped')
    const path = join(scratch(t), 'socket')
    await server.listen({ path })
    assert.equal(setUp, false)
    assert.ok(!existsSync(path))
    assert.deepEqual(journal, [])
  })
})

describe('S3 shutdown() in a callback returns before anything changes', () => {
  for (const [where, place] of [
    ['on a socket', onSocket],
    ['on a pair', onPair],
  ] as const)
    it(`S3 ${where}: the write that called it succeeds`, async (t) => {
      const seen: string[] = []
      const { server, transmitting } = await place(t, {
        plugin: actedDisk({
          write({ connection, server: context }) {
            context.shutdown()
            context.shutdown()
            seen.push(server.state, connection.state)
          },
        }),
      })
      const { client } = await transmitting()
      client.sendRequest(write(1))
      assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
      assert.deepEqual(seen, ['serving', 'transmission'])
      await server.stopped
    })

  it('S3 a callback that waits goes on waiting, and others may come while it begins', async (t) => {
    const door = new Door()
    const { server, transmitting } = await onPair(t, {
      plugin: actedDisk({
        async write({ server }) {
          server.shutdown()
          await door.wait()
        },
      }),
    })
    const { client } = await transmitting()
    client.sendRequest(write(1))
    client.sendRequest(read(2))
    assert.deepEqual(await answer(client), { cookie: 2, error: 0 })
    await until(() => server.state === 'draining')
    door.open()
    assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
    await server.stopped
  })
})

describe('S4 listening sockets close at once', () => {
  it('S4 the file of a Unix socket is removed while a client is still served', async (t) => {
    const door = new Door()
    const { server, path, transmitting } = await onSocket(t, { plugin: actedDisk({ write: door.wait }) })
    const { client } = await transmitting()
    client.sendRequest(write(1))
    await door.reached
    const stopped = server.shutdown()
    await until(() => !existsSync(path))
    assert.equal(server.state, 'draining')
    assert.equal(await comeNow({ path }), 'ENOENT')
    door.open()
    assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
    await stopped
  })

  it('S4 a new TCP client is refused while another is still served', async () => {
    const door = new Door()
    await using server = createServer({ plugin: actedDisk({ write: door.wait }) })
    await server.listen({ port: 0, host: '127.0.0.1' })
    const [address] = server.addresses
    assert.ok(address && 'port' in address)
    const client = await RawClient.connect(address)
    await client.go()
    client.sendRequest(write(1))
    await door.reached
    const stopped = server.shutdown()
    await turns()
    assert.equal(await comeNow(address), 'ECONNREFUSED')
    door.open()
    assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
    client.stream.destroy()
    await stopped
  })

  it('S4 serve() takes no more clients', async (t) => {
    const { server, client } = await onPair(t, { plugin: actedDisk({}) })
    await server.ready()
    void server.shutdown()
    await assert.rejects(client(), /shutting down/)
  })

  it('S4 a client that waits for its turn does not hang', async (t) => {
    const door = new Door()
    const plugin = actedDisk({ write: door.wait })
    const { server, client, transmitting } = await onSocket(t, {
      plugin,
      filters: [filter('one-by-one', [], { concurrency: 'serialize-connections' })],
    })
    const first = await transmitting()
    const second = await client()
    first.client.sendRequest(write(1))
    await door.reached
    await turns()
    const stopped = server.shutdown()
    assert.equal(await soon(isGone(second)), true, 'it is closed although the first is not yet done')
    door.open()
    assert.deepEqual(await answer(first.client), { cookie: 1, error: 0 })
    await stopped
  })
})

describe('S5 a client in the handshake gets NBD_REP_ERR_SHUTDOWN for the option in hand, and is closed', () => {
  const cases: [what: string, option: number, data: Buffer, operation: 'open' | 'exports'][] = [
    ['an export that is being opened', NBD_OPT_GO, infoData(''), 'open'],
    ['a list that is being made', NBD_OPT_LIST, Buffer.alloc(0), 'exports'],
  ]
  for (const [what, option, data, operation] of cases)
    it(`S5 ${what}`, async (t) => {
      const door = new Door()
      const { server, client: newClient } = await onSocket(t, {
        plugin: actedDisk({ [operation]: door.wait }),
      })
      const client = await newClient()
      await client.greet()
      client.sendOption(option, data)
      await door.reached
      const stopped = server.shutdown()
      door.open()
      const reply = await client.optionReply()
      assert.deepEqual([reply.option, reply.type], [option, NBD_REP_ERR_SHUTDOWN])
      await isGone(client)
      await stopped
    })

  it('S5 an option that comes while the server drains', async (t) => {
    const { server, client: newClient } = await onPair(t, { plugin: actedDisk({}) })
    const client = await newClient()
    await client.greet()
    await turns()
    const stopped = server.shutdown()
    await turns()
    client.sendOption(NBD_OPT_GO, infoData(''))
    assert.equal((await client.optionReply()).type, NBD_REP_ERR_SHUTDOWN)
    await isGone(client)
    await stopped
  })

  it('S5 a client that says nothing is closed', async (t) => {
    const { server, client } = await onSocket(t, { plugin: actedDisk({}) })
    const silent = await client()
    await silent.take(18)
    const greeted = await client()
    await greeted.greet()
    await server.shutdown()
    await isGone(silent)
    await isGone(greeted)
  })
})

describe('S6 a client in transmission', () => {
  it('S6 gets the replies of requests already read, ESHUTDOWN for later ones, and is closed', async (t) => {
    const doors = [new Door(), new Door()]
    const disk = Buffer.alloc(1024 * 1024)
    const journal: string[] = []
    const actions: Actions = { write: ({ offset }) => doors[offset / 512]?.wait() }
    const { server, transmitting } = await onSocket(t, { plugin: actedDisk(actions, journal, disk) })
    const { client } = await transmitting()
    client.sendRequest(write(1, 0))
    client.sendRequest(write(2, 512))
    await doors[1]?.reached
    const stopped = server.shutdown()
    await until(() => server.state === 'draining')
    client.sendRequest(write(3, 1024))
    client.sendRequest({ type: NBD_CMD_FLUSH, cookie: 4 })
    assert.deepEqual(await answer(client), { cookie: 3, error: NBD_ESHUTDOWN })
    assert.deepEqual(await answer(client), { cookie: 4, error: NBD_ESHUTDOWN })
    doors[1]?.open()
    assert.deepEqual(await answer(client), { cookie: 2, error: 0 })
    doors[0]?.open()
    assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
    await isGone(client)
    await stopped
    assert.deepEqual(disk.subarray(0, 1536), Buffer.from([1, 2, 0].flatMap((byte) => Array(512).fill(byte))))
    assert.deepEqual(journal, ['open', 'write 512 at 0', 'write 512 at 512', 'close', 'close disk'])
  })

  it('S6 is not quiet while its requests wait for a server that is busy elsewhere', async (t) => {
    const { server, transmitting } = await onSocket(t, { plugin: actedDisk({}) })
    const { client } = await transmitting()
    const stopped = server.shutdown()
    await until(() => server.state === 'draining')
    await turns()
    // It is in the socket, and nobody reads it until the time of quiet is over.
    client.sendRequest(read(1))
    for (const end = performance.now() + 3 * quietMs; performance.now() < end; );
    assert.deepEqual(await answer(client), { cookie: 1, error: NBD_ESHUTDOWN })
    await isGone(client)
    await stopped
  })

  it('S6 gets all of its output first, also when it is slow to take it', async (t) => {
    const { server, transmitting } = await onSocket(t, { plugin: actedDisk({}) })
    const { client } = await transmitting()
    client.stream.pause()
    const count = 8
    for (let cookie = 1; cookie <= count; cookie++) client.sendRequest(read(cookie, 0, 1024 * 1024))
    await turns()
    const stopped = server.shutdown()
    await turns()
    assert.equal(server.state, 'draining')
    client.stream.resume()
    for (let cookie = 1; cookie <= count; cookie++) {
      const reply = await client.reply()
      // What the server had not yet read when it began to drain is refused, and nothing is left out.
      if (reply.error !== NBD_ESHUTDOWN) assert.deepEqual([reply.error, reply.data.length], [0, 1024 * 1024])
      assert.equal(reply.cookie, cookie)
    }
    await isGone(client)
    await stopped
  })
})

describe('S7 when graceMs has passed, what is left is disconnected by force', () => {
  const held = async (t: TestContext, options: Partial<ServerOptions> = {}) => {
    const door = new Door()
    const place = await onSocket(t, { plugin: actedDisk({ write: door.wait }), ...options })
    const { client, connection } = await place.transmitting()
    client.sendRequest(write(1))
    await door.reached
    return { ...place, client, connection, door }
  }
  const ways: [way: string, options: Partial<ServerOptions>, stop: (server: Server) => Promise<void>][] = [
    ['of shutdown()', {}, (server) => server.shutdown({ graceMs: 20 })],
    ['of the server', { graceMs: 20 }, (server) => server.shutdown()],
    [
      'of a second call, which is shorter',
      {},
      (server) => {
        void server.shutdown()
        return server.shutdown({ graceMs: 0 })
      },
    ],
    [
      'of the first call, where the second is longer',
      {},
      (server) => {
        void server.shutdown({ graceMs: 20 })
        return server.shutdown({ graceMs: 60_000 })
      },
    ],
  ]
  for (const [way, options, stop] of ways)
    it(`S7 ${way}`, async (t) => {
      const { server, client, connection, door } = await held(t, options)
      const stopped = stop(server)
      await aborted(connection)
      await isGone(client)
      door.open()
      await stopped
      assert.equal(server.state, 'stopped')
    })

  it('S7 a grace without end drops nobody', async (t) => {
    const { server, client, connection, door } = await held(t)
    const stopped = server.shutdown({ graceMs: Number.POSITIVE_INFINITY })
    await until(() => server.state === 'draining')
    // A timer of too many ms would fire after one.
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(connection.signal.aborted, false)
    door.open()
    assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
    await stopped
  })
})

describe('S8 devices close outer to inner, once, after the last callback; then each layer once', () => {
  for (const force of [false, true])
    it(`S8 after a shutdown that ${force ? 'drops' : 'drains'} its clients`, async (t) => {
      const journal: string[] = []
      const door = new Door()
      const actions: Actions = {
        async write() {
          await door.wait()
          journal.push('write ends')
        },
        close: ({ connection }) => void journal.push(`of ${connection.exportName}`),
      }
      const filters = [filter('outer', journal), filter('inner', journal)]
      const { server, transmitting } = await onSocket(t, { plugin: actedDisk(actions, journal), filters })
      const { client, connection } = await transmitting({ name: 'one' })
      client.sendRequest(write(1))
      await door.reached
      const other = await transmitting({ name: 'two' })
      const stopped = server.shutdown({ graceMs: force ? 0 : 60_000 })
      if (force) await aborted(connection)
      await other.connection.closed
      await turns()
      door.open()
      await stopped
      const closes = (name: string) => [
        `close outer of ${name}`,
        `close inner of ${name}`,
        'close',
        `of ${name}`,
      ]
      const layers = ['close outer', 'close inner', 'close disk']
      assert.deepEqual(journal.slice(0, 3), ['open one', 'write 512 at 0', 'open two'])
      assert.deepEqual(journal.slice(3), [...closes('two'), 'write ends', ...closes('one'), ...layers])
    })

  it('S8 a filter that answers early does not close the plugin under its own callback', async (t) => {
    const journal: string[] = []
    const door = new Door()
    const hasty = defineFilter({
      name: 'hasty',
      description: '',
      params: {},
      setup: () => ({
        async open(request, next) {
          const device = await next(request)
          return {
            ...device,
            read(offset, length, alloc) {
              void device.read(offset, length, alloc)
              return Promise.reject(new NbdError('EIO', 'it takes too long'))
            },
          }
        },
      }),
    })()
    const actions: Actions = {
      async read() {
        await door.wait()
        journal.push('read ends')
      },
    }
    const { transmitting } = await onSocket(t, { plugin: actedDisk(actions, journal), filters: [hasty] })
    const { client, connection } = await transmitting()
    client.sendRequest(read(1))
    assert.deepEqual(await answer(client), { cookie: 1, error: NBD_EIO })
    client.stream.end()
    await turns()
    door.open()
    await isGone(client)
    await connection.closed
    assert.deepEqual(journal, ['open', 'read 512 at 0', 'read ends', 'close'])
  })

  it('S8 a close that throws is logged, and the others are closed all the same', async (t) => {
    const journal: string[] = []
    const fail = () => {
      throw new Error('the door is stuck')
    }
    const { log, errors } = collectedLog()
    const { server, transmitting } = await onSocket(t, {
      plugin: actedDisk({ close: fail, closeLayer: fail }, journal),
      filters: [filter('outer', journal)],
      log,
    })
    await transmitting({ name: 'one' })
    await server.shutdown()
    assert.deepEqual(journal, ['open one', 'close outer of one', 'close', 'close outer', 'close disk'])
    assert.equal(errors.length, 2)
    for (const error of errors)
      assert.match(error, /^close: the door is stuck \(server\.test\.js:\d+\)\n +at /)
  })
})

describe('S9 a callback that never settles does not hang the process', () => {
  const never = () => new Promise<void>(() => {})
  const stuck: [operation: string, named: RegExp, actions: Actions, act: (client: RawClient) => void][] = [
    [
      'read',
      /^disk: read was called \d+\.\d s ago/,
      { read: never },
      (client) => client.sendRequest(read(1)),
    ],
    ['close', /^disk: close was called/, { close: never }, (client) => client.stream.end()],
    ['close of the layer', /^disk: close was called/, { closeLayer: never }, (client) => client.stream.end()],
  ]
  for (const [operation, named, actions, act] of stuck)
    it(`S9 ${operation}: its signal fires, and past that the log names the layer, operation and age`, async (t) => {
      const { log, errors } = collectedLog()
      const { server, transmitting } = await onSocket(t, {
        plugin: actedDisk(actions),
        filters: [passing('outer'), passing('inner')],
        log,
      })
      const { client, connection } = await transmitting()
      act(client)
      if (operation === 'close of the layer') await connection.closed
      else await turns()
      const { signal } = connection
      await assert.rejects(server.shutdown({ graceMs: 1 }), (error) => {
        assert.ok(error instanceof StuckError)
        assert.match(error.message, named)
        assert.deepEqual(errors, [error.message])
        return true
      })
      if (operation !== 'close of the layer') assert.equal(signal.aborted, true)
      assert.equal(server.state, 'stopped')
      await assert.rejects(server.stopped, StuckError)
    })

  it('S9 one that settles when its signal fires is not stuck', async (t) => {
    const { log, errors } = collectedLog()
    const actions: Actions = {
      async read({ connection }) {
        await aborted(connection)
        throw connection.signal.reason
      },
    }
    const { server, transmitting } = await onSocket(t, { plugin: actedDisk(actions), log })
    const { client } = await transmitting()
    client.sendRequest(read(1))
    await turns()
    await server.shutdown({ graceMs: 0 })
    await isGone(client)
    assert.deepEqual(errors, [])
  })
})

describe('S10 a crash of a callback ends one request, not the server', () => {
  const fail = (error: unknown) => () => {
    throw error
  }
  const crashes: [what: string, crash: () => void | Promise<void>][] = [
    ['a throw', fail(new TypeError('x is undefined'))],
    ['a throw of nothing', fail(undefined)],
    ['a throw of text', fail('oops')],
    ['a Promise that rejects', () => Promise.reject(new RangeError('too far'))],
    ['a Promise that rejects later', () => turns(3).then(fail(null))],
    ['a failed assertion of its own', fail(new AssertionError({ message: '1 is not 2' }))],
  ]
  for (const [what, crash] of crashes)
    it(`S10 ${what}`, async (t) => {
      const { server, transmitting } = await onSocket(t, { plugin: actedDisk({ read: crash }) })
      const { client } = await transmitting()
      const other = await transmitting()
      client.sendRequest(read(1))
      assert.deepEqual(await answer(client), { cookie: 1, error: NBD_EIO })
      for (const one of [client, other.client]) {
        one.sendRequest(write(2))
        assert.deepEqual(await answer(one), { cookie: 2, error: 0 })
      }
      assert.equal(server.state, 'serving')
    })
})

describe('S12 before it serves, a server can be stopped whatever setup and ready do', () => {
  const never = () => new Promise<void>(() => {})
  const hanging: [
    what: string,
    named: RegExp,
    closed: string[],
    actions: Actions,
    setup?: () => Promise<void>,
  ][] = [
    ['setup of the plugin', /^disk: setup was called/, [], { setup: never }],
    ['ready of the plugin', /^disk: ready was called/, ['close outer', 'close disk'], { ready: never }],
    ['setup of a filter', /^outer: setup was called/, ['close disk'], {}, never],
  ]
  for (const [what, named, closed, actions, setup] of hanging)
    it(`S12 ${what} never settles: when the grace is over, what was set up is closed`, async (t) => {
      const journal: string[] = []
      const { log, errors } = collectedLog()
      const path = join(scratch(t), 'socket')
      const outer = filter('outer', journal)
      const filters = [
        setup === undefined
          ? outer
          : { ...outer, definition: { ...outer.definition, setup: () => setup().then(() => ({})) } },
      ]
      const server = createServer({ plugin: actedDisk(actions, journal), filters, log })
      const listening = server.listen({ path })
      await turns()
      const stopped = server.shutdown({ graceMs: 1 })
      await assert.rejects(listening, StuckError)
      await assert.rejects(stopped, (error) => error instanceof StuckError && named.test(error.message))
      assert.equal(server.state, 'stopped')
      assert.deepEqual(journal, closed)
      assert.equal(errors.length, 1)
      assert.ok(!existsSync(path))
    })

  it('S12 a second shutdown, which is shorter, is waited for no longer', async () => {
    const server = createServer({ plugin: actedDisk({ ready: never }) })
    const ready = server.ready()
    await turns()
    void server.shutdown().catch(() => {})
    void server.shutdown({ graceMs: 0 }).catch(() => {})
    await assert.rejects(ready, StuckError)
  })

  it('S12 a layer that is set up when nobody waits any more is closed', async () => {
    const journal: string[] = []
    const door = new Door()
    const server = createServer({ plugin: actedDisk({ setup: door.wait }, journal) })
    const ready = server.ready()
    await door.reached
    await assert.rejects(server.shutdown({ graceMs: 1 }), StuckError)
    await assert.rejects(ready, StuckError)
    assert.deepEqual(journal, [])
    door.open()
    await until(() => journal.length > 0)
    assert.deepEqual(journal, ['close disk'])
  })

  it('S12 a close that hangs behind a refusal does not hold up who waits for the server', async () => {
    const { log, errors } = collectedLog()
    const refuse = () => {
      throw new ConfigError('not today')
    }
    const server = createServer({ plugin: actedDisk({ ready: refuse, closeLayer: never }), log })
    const ready = server.ready()
    await turns()
    await assert.rejects(server.shutdown({ graceMs: 1 }), StuckError)
    await assert.rejects(ready, StuckError)
    assert.match(errors.join(), /disk: close was called/)
  })
})
