/** The promises of docs/lifecycle.md about a connection, C1 to C12. */

import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import {
  type Connection,
  createServer,
  definePlugin,
  NbdError,
  type Server,
  type ServerOptions,
  silentLog,
} from '../../src/index.js'
import memory from '../../src/plugins/memory/memory.js'
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_ESHUTDOWN,
  NBD_OPT_ABORT,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_REP_ERR_PLATFORM,
  NBD_REP_ERR_SHUTDOWN,
  NBD_REP_ERR_UNKNOWN,
  NBD_REPLY_TYPE_ERROR,
  NBD_SIMPLE_REPLY_MAGIC,
} from '../../src/protocol/constants.js'
import { encodeRequest, infoData, RawClient, type RawRequest } from '../../src/testing/index.js'
import { until } from '../../src/testing/until.js'
import {
  type Action,
  type Actions,
  aborted,
  actedDisk,
  answer,
  collectedLog,
  Door,
  die,
  isGone,
  onPair,
  onSocket,
  read,
  soon,
  turns,
  write,
} from './helpers.js'

const places = [
  ['on a socket', onSocket],
  ['on a pair', onPair],
] as const
const disc: RawRequest = { type: NBD_CMD_DISC }

describe('C1 disconnect(true) destroys the socket now', () => {
  const ways: [way: string, waits: boolean, write: Action][] = [
    ['from a callback that answers at once', false, ({ connection }) => connection.disconnect(true)],
    [
      'from a callback that waits',
      false,
      async ({ connection }) => {
        connection.disconnect(true)
        await turns(1)
      },
    ],
    [
      'from a callback that has waited, and then fails',
      true,
      async ({ connection }) => {
        await turns(1)
        connection.disconnect(true)
        throw new NbdError('EIO', 'it is gone')
      },
    ],
  ]
  for (const [place, on] of places)
    for (const [way, waits, action] of ways)
      it(`C1 ${way}, ${place}: no reply to it, to others in flight, nor to any that is queued`, async (t) => {
        const journal: string[] = []
        const door = new Door()
        const actions: Actions = {
          read: ({ offset }) => (offset === 0 ? door.wait() : undefined),
          write: action,
        }
        const { transmitting } = await on(t, { plugin: actedDisk(actions, journal) })
        const { client, connection } = await transmitting()
        // All in one chunk. The second read is answered at once: its reply is queued when the write begins.
        const ahead = waits ? [read(1)] : [read(1), read(2, 512)]
        const behind = waits ? [] : [read(4)]
        client.send(Buffer.concat([...ahead, write(3), ...behind].map((request) => encodeRequest(request))))
        await aborted(connection)
        assert.equal(connection.state, 'closed')
        await isGone(client)
        await turns()
        // The first read has not settled yet.
        const begun = ['open', ...ahead.map(({ offset }) => `read 512 at ${offset}`), 'write 512 at 0']
        assert.deepEqual(journal, begun)
        door.open()
        await connection.closed
        assert.deepEqual(journal, [...begun, 'close'])
      })

  it('C1 from outside: its signal has fired, and its state is closed, when it returns', async (t) => {
    const journal: string[] = []
    const door = new Door()
    const { transmitting } = await onSocket(t, { plugin: actedDisk({ write: door.wait }, journal) })
    const { client, connection } = await transmitting()
    const { signal } = connection
    client.sendRequest(write(1))
    await door.reached
    assert.equal(signal.aborted, false)
    connection.disconnect(true)
    assert.deepEqual([signal.aborted, connection.state], [true, 'closed'])
    door.open()
    await isGone(client)
    await connection.closed
    assert.deepEqual(journal, ['open', 'write 512 at 0', 'close'])
  })

  it('C1 what the client was too slow to take is not sent either', async (t) => {
    const { transmitting } = await onSocket(t, { plugin: actedDisk({}) })
    const { client, connection } = await transmitting()
    client.stream.pause()
    for (let cookie = 1; cookie <= 4; cookie++) client.sendRequest(read(cookie, 0, 1024 * 1024))
    await turns()
    connection.disconnect(true)
    client.stream.resume()
    assert.ok((await client.rest()).length < 4 * 1024 * 1024)
  })

  it('C1 at any moment of the handshake, once a device is open: no harm is done', async (t) => {
    for (let moment = 0; moment < 40; moment++) {
      const { log, errors } = collectedLog()
      const later = async (connection: Connection) => {
        for (let step = 0; step < moment; step++) await undefined
        connection.disconnect(true)
      }
      const journal: string[] = []
      const plugin = actedDisk({ open: ({ connection }) => void later(connection) }, journal)
      const { server, client: newClient } = await onPair(t, { plugin, log })
      const client = await newClient()
      const [connection] = server.connections
      await client.greet()
      client.sendOption(NBD_OPT_GO, infoData(''))
      await turns()
      const open = connection?.state === 'transmission'
      client.stream.destroy()
      await connection?.closed
      assert.deepEqual(
        errors,
        [],
        `${moment} microtasks after open was called, ${open ? 'too early' : 'in time'}`,
      )
      assert.deepEqual(journal, ['open', 'close'])
    }
  })
})

/** One of each command, with cookies from 10, some of them wrong. */
const allCommands: readonly RawRequest[] = [
  { type: NBD_CMD_READ, offset: 0, length: 512 },
  { type: NBD_CMD_WRITE, offset: 0, length: 512, payload: Buffer.alloc(512, 0xff) },
  { type: NBD_CMD_WRITE, offset: 0, length: 300_000, payload: Buffer.alloc(300_000, 0xff) },
  { type: NBD_CMD_FLUSH },
  { type: NBD_CMD_TRIM, offset: 0, length: 512 },
  { type: NBD_CMD_CACHE, offset: 0, length: 512 },
  { type: NBD_CMD_WRITE_ZEROES, offset: 0, length: 512 },
  { type: NBD_CMD_BLOCK_STATUS, offset: 0, length: 512 },
  { type: 99, offset: 0, length: 512 },
  { type: NBD_CMD_READ, offset: 2 ** 40, length: 512 },
  { type: NBD_CMD_READ, flags: 0xff00, offset: 0, length: 512 },
].map((request, index) => ({ ...request, cookie: 10 + index }))

describe('C2 after disconnect(false) every command but DISC fails with ESHUTDOWN', () => {
  for (const [place, on] of places)
    for (const mode of ['simple', 'structured', 'extended'] as const)
      it(`C2 ${place}, ${mode} replies: no layer is reached, and those in flight are answered in any order`, async (t) => {
        const doors = [new Door(), new Door(), new Door()]
        const journal: string[] = []
        const disk = Buffer.alloc(1024 * 1024)
        const plugin = actedDisk({ write: ({ offset }) => doors[offset / 512]?.wait() }, journal, disk)
        const { transmitting } = await on(t, { plugin })
        const contexts = mode === 'simple' ? [] : ['base:allocation']
        const { client, connection } = await transmitting({
          structured: mode !== 'simple',
          extended: mode === 'extended',
          contexts,
        })
        for (let index = 0; index < 3; index++) client.sendRequest(write(1 + index, index * 512))
        await doors[2]?.reached
        connection.disconnect(false)
        assert.equal(connection.state, 'draining')
        for (const request of allCommands) {
          client.sendRequest(request)
          assert.deepEqual(await answer(client), { cookie: request.cookie, error: NBD_ESHUTDOWN })
        }
        for (const index of [1, 2, 0]) {
          doors[index]?.open()
          assert.deepEqual(await answer(client), { cookie: 1 + index, error: 0 })
        }
        client.sendRequest(disc)
        await isGone(client)
        await connection.closed
        assert.equal(connection.signal.aborted, false)
        assert.deepEqual(journal.slice(4), ['close'])
        assert.deepEqual(
          disk.subarray(0, 2048),
          Buffer.from([1, 2, 3, 0].flatMap((byte) => Array(512).fill(byte))),
        )
      })

  it('C2 requests that came in the same chunk, behind the write that called it', async (t) => {
    const journal: string[] = []
    const plugin = actedDisk({ write: ({ connection }) => connection.disconnect(false) }, journal)
    const { transmitting } = await onSocket(t, { plugin })
    const { client } = await transmitting()
    client.send(
      Buffer.concat([write(1), write(2), write(3, 0, 100_000)].map((request) => encodeRequest(request))),
    )
    client.sendRequest(read(4))
    assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
    for (const cookie of [2, 3, 4]) assert.deepEqual(await answer(client), { cookie, error: NBD_ESHUTDOWN })
    client.sendRequest(disc)
    await isGone(client)
    assert.deepEqual(journal, ['open', 'write 512 at 0', 'close'])
  })

  for (const [what, length] of [
    ['small', 1024],
    ['large', 256 * 1024],
  ] as const)
    it(`C2 a ${what} write whose payload has begun to come reaches no layer`, async (t) => {
      const journal: string[] = []
      const { transmitting } = await onSocket(t, { plugin: actedDisk({}, journal) })
      const { client, connection } = await transmitting()
      const bytes = encodeRequest(write(1, 0, length))
      client.sendRequest(read(2))
      client.send(bytes.subarray(0, bytes.length / 2))
      await answer(client)
      await turns()
      connection.disconnect(false)
      client.send(bytes.subarray(bytes.length / 2))
      assert.deepEqual(await answer(client), { cookie: 1, error: NBD_ESHUTDOWN })
      client.sendRequest(read(3))
      assert.deepEqual(await answer(client), { cookie: 3, error: NBD_ESHUTDOWN })
      client.sendRequest(disc)
      await isGone(client)
      await connection.closed
      assert.deepEqual(journal, ['open', 'read 512 at 0', 'close'])
    })

  it('C2 the answer to a write waits for its payload, which clients expect', async (t) => {
    const { transmitting } = await onPair(t, { plugin: actedDisk({}) })
    const { client, connection } = await transmitting()
    connection.disconnect(false)
    const bytes = encodeRequest(write(1, 0, 100_000))
    client.send(bytes.subarray(0, 99_000))
    let answered = false
    const reply = answer(client).finally(() => {
      answered = true
    })
    await turns()
    assert.equal(answered, false)
    client.send(bytes.subarray(99_000))
    assert.deepEqual(await reply, { cookie: 1, error: NBD_ESHUTDOWN })
  })

  it('C2 is answered at once, also while as many are in flight as may be', async (t) => {
    const door = new Door()
    const journal: string[] = []
    const { transmitting } = await onSocket(t, {
      plugin: actedDisk({ write: door.wait }, journal),
      threads: 1,
    })
    const { client, connection } = await transmitting()
    for (const request of [write(1), write(2), read(3)]) client.sendRequest(request)
    await door.reached
    await turns()
    connection.disconnect(false)
    for (const cookie of [2, 3]) {
      const early = answer(client)
      assert.equal(await soon(early), true, 'it needs no device')
      assert.deepEqual(await early, { cookie, error: NBD_ESHUTDOWN })
    }
    door.open()
    assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
    assert.deepEqual(journal, ['open', 'write 512 at 0'])
  })
})

describe('C3 after a soft disconnect the connection closes when the client does, or after lingerMs', () => {
  for (const [place, on] of places)
    for (const waits of [false, true])
      it(`C3 ${place}: a write that calls it ${waits ? 'and then waits ' : ''}succeeds`, async (t) => {
        const plugin = actedDisk({
          write({ connection }) {
            connection.disconnect(false)
            return waits ? turns(2) : undefined
          },
        })
        const { transmitting } = await on(t, { plugin })
        const { client, connection } = await transmitting()
        client.sendRequest(write(1))
        assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
        client.sendRequest(read(2))
        assert.deepEqual(await answer(client), { cookie: 2, error: NBD_ESHUTDOWN })
        assert.equal(connection.state, 'draining')
        client.sendRequest(disc)
        await isGone(client)
      })

  it('C3 on EOF, after the replies to what is in flight', async (t) => {
    const door = new Door()
    const { transmitting } = await onSocket(t, { plugin: actedDisk({ write: door.wait }) })
    const { client, connection } = await transmitting()
    client.sendRequest(write(1))
    await door.reached
    connection.disconnect(false)
    client.stream.end()
    await turns()
    door.open()
    assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
    await isGone(client)
  })

  it('C3 on DISC, after the replies to what is in flight, and not before', async (t) => {
    const door = new Door()
    const { transmitting } = await onSocket(t, { plugin: actedDisk({ write: door.wait }) })
    const { client, connection } = await transmitting()
    client.sendRequest(write(1))
    client.sendRequest(disc)
    await until(() => connection.state === 'draining')
    connection.disconnect(false)
    await turns()
    door.open()
    assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
    await isGone(client)
  })

  for (const lingerMs of [0, 1, 20])
    for (const waits of [false, true])
      it(`C3 lingerMs ${lingerMs} after the last reply of a write that ${waits ? 'waits' : 'does not wait'}`, async (t) => {
        const plugin = actedDisk({
          write({ connection }) {
            connection.disconnect(false, { lingerMs })
            return waits ? turns(3) : undefined
          },
        })
        const { transmitting } = await onSocket(t, { plugin })
        const { client, connection } = await transmitting()
        client.sendRequest(write(1))
        assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
        await isGone(client)
        await connection.closed
        assert.equal(connection.signal.aborted, false)
      })

  it('C3 lingerMs without end is no lingerMs', async (t) => {
    const { transmitting } = await onSocket(t, { plugin: actedDisk({}) })
    const { client, connection } = await transmitting()
    connection.disconnect(false, { lingerMs: Number.POSITIVE_INFINITY })
    // A timer of too many ms would fire after one.
    await new Promise((resolve) => setTimeout(resolve, 20))
    client.sendRequest(read(1))
    assert.deepEqual(await answer(client), { cookie: 1, error: NBD_ESHUTDOWN })
  })
})

describe('C4 soft then force escalates, force then soft is nothing', () => {
  it('C4 soft then force', async (t) => {
    const door = new Door()
    const { transmitting } = await onSocket(t, { plugin: actedDisk({ write: door.wait }) })
    const { client, connection } = await transmitting()
    client.sendRequest(write(1))
    await door.reached
    connection.disconnect(false)
    connection.disconnect(false)
    connection.disconnect(true)
    assert.deepEqual([connection.state, connection.signal.aborted], ['closed', true])
    door.open()
    await isGone(client)
  })

  it('C4 force then soft', async (t) => {
    const { transmitting } = await onSocket(t, { plugin: actedDisk({}) })
    const { client, connection } = await transmitting()
    connection.disconnect(true)
    connection.disconnect(false, { lingerMs: 0 })
    connection.disconnect(true)
    assert.equal(connection.state, 'closed')
    await isGone(client)
    await connection.closed
  })
})

describe('C5 the next callback is close, once those running have settled', () => {
  for (const force of [false, true])
    it(`C5 disconnect(${force})`, async (t) => {
      const journal: string[] = []
      const door = new Door()
      const actions: Actions = {
        write: async () => {
          await door.wait()
          journal.push('write ends')
        },
        flush: ({ connection }) => {
          journal.push('disconnects')
          connection.disconnect(force)
        },
      }
      const { transmitting } = await onSocket(t, { plugin: actedDisk(actions, journal) })
      const { client, connection } = await transmitting()
      client.sendRequest(write(1))
      client.sendRequest({ type: NBD_CMD_FLUSH, cookie: 2 })
      client.sendRequest(write(3))
      client.sendRequest(read(4))
      client.sendRequest(disc)
      await until(() => journal.includes('disconnects'))
      await turns()
      door.open()
      await connection.closed
      assert.deepEqual(journal, [
        'open',
        'write 512 at 0',
        'flush 0 at 0',
        'disconnects',
        'write ends',
        'close',
      ])
    })
})

describe('C6 other connections are not affected', () => {
  for (const force of [false, true])
    it(`C6 disconnect(${force}): what others have in flight is answered, and the client may come again`, async (t) => {
      const door = new Door()
      const actions: Actions = {
        write: door.wait,
        read: ({ connection, offset }) => {
          if (offset === 512) connection.disconnect(force)
        },
      }
      const { server, transmitting } = await onSocket(t, { plugin: actedDisk(actions) })
      const one = await transmitting()
      const two = await transmitting()
      one.client.sendRequest(write(1))
      two.client.sendRequest(write(1))
      await door.reached
      one.client.sendRequest(read(2, 512))
      if (force) await isGone(one.client)
      else assert.deepEqual(await answer(one.client), { cookie: 2, error: 0 })
      const again = await transmitting()
      for (const { client, connection } of [two, again]) {
        client.sendRequest(read(3))
        assert.deepEqual(await answer(client), { cookie: 3, error: 0 })
        assert.equal(connection.state, 'transmission')
        assert.equal(connection.signal.aborted, false)
      }
      door.open()
      assert.deepEqual(await answer(two.client), { cookie: 1, error: 0 })
      assert.equal(server.state, 'serving')
    })
})

describe('C7 before open has returned, or after close, disconnect does nothing but a debug line', () => {
  for (const force of [false, true])
    for (const operation of ['accept', 'open'] as const)
      it(`C7 disconnect(${force}) in ${operation}`, async (t) => {
        const { log, debugs } = collectedLog()
        const act = (connection: Connection) => connection.disconnect(force)
        const actions: Actions =
          operation === 'accept' ? { accept: act } : { open: ({ connection }) => act(connection) }
        const { transmitting } = await onSocket(t, { plugin: actedDisk(actions), log })
        const { client } = await transmitting()
        assert.ok(debugs.some((line) => line.includes('disconnect')))
        client.sendRequest(read(1))
        assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
      })

  it('C7 in close, and after it', async (t) => {
    let closes = 0
    const plugin = actedDisk({
      close({ connection }) {
        closes++
        connection.disconnect(false)
        connection.disconnect(true)
      },
    })
    const { transmitting } = await onSocket(t, { plugin })
    const { client, connection } = await transmitting()
    client.sendRequest(disc)
    await isGone(client)
    await connection.closed
    connection.disconnect(true)
    assert.deepEqual([connection.state, connection.signal.aborted, closes], ['closed', false, 1])
  })

  it('C7 a throw in accept refuses the client, and no other', async (t) => {
    const plugin = actedDisk({
      accept({ id }) {
        if (id === 1) throw new Error('we are closed')
      },
    })
    const { client, transmitting } = await onSocket(t, { plugin })
    await isGone(await client())
    await transmitting()
  })

  it('C7 a throw in open refuses the export, and the client may ask for another', async (t) => {
    const plugin = actedDisk({
      open({ exportName }) {
        if (exportName === 'secret') throw new NbdError('EPERM', 'not for you')
      },
    })
    const { client: newClient } = await onSocket(t, { plugin })
    const client = await newClient()
    await client.greet()
    const [refused] = await client.option(NBD_OPT_GO, infoData('secret'))
    assert.deepEqual([refused?.type, refused?.data.toString()], [NBD_REP_ERR_UNKNOWN, 'not for you'])
    assert.equal((await client.option(NBD_OPT_GO, infoData(''))).at(-1)?.type, 1)
  })

  it('C7 a throw in exports refuses the list', async (t) => {
    const fail = () => {
      throw new NbdError('EPERM', 'not for you')
    }
    const { client: newClient } = await onSocket(t, { plugin: actedDisk({ exports: fail }) })
    const client = await newClient()
    await client.greet()
    const [refused] = await client.option(NBD_OPT_LIST)
    assert.deepEqual([refused?.type, refused?.data.toString()], [NBD_REP_ERR_PLATFORM, 'not for you'])
  })

  it('C7 between options, once a device is open, it is in force', async (t) => {
    const { server, client: newClient } = await onSocket(t, { plugin: actedDisk({}) })
    const client = await newClient()
    await client.greet()
    await client.option(NBD_OPT_INFO, infoData(''))
    const [connection] = server.connections
    connection?.disconnect(false)
    for (const option of [NBD_OPT_INFO, NBD_OPT_GO]) {
      const [refused] = await client.option(option, infoData(''))
      assert.equal(refused?.type, NBD_REP_ERR_SHUTDOWN)
    }
    connection?.disconnect(true)
    await isGone(client)
  })
})

describe('C8 a client that vanishes is C1 without the call', () => {
  const header = encodeRequest(write(2, 0, 4096))
  const deaths: [how: string, die: (client: RawClient) => void][] = [
    ['EOF in the middle of a header', ({ stream }) => stream.end(header.subarray(0, 10))],
    ['EOF between a header and its payload', ({ stream }) => stream.end(header.subarray(0, 28))],
    ['EOF in the middle of a payload', ({ stream }) => stream.end(header.subarray(0, 1000))],
    [
      'EOF in the middle of a payload that is thrown away',
      ({ stream }) => stream.end(encodeRequest(write(2, 2 ** 40, 4096)).subarray(0, 1000)),
    ],
    ['RST', ({ stream }) => stream instanceof Socket && stream.resetAndDestroy()],
  ]
  for (const [how, leave] of deaths)
    it(`C8 ${how}: the signal fires, callbacks settle unanswered, devices close once`, async () => {
      const journal: string[] = []
      const door = new Door()
      await using server = createServer({ plugin: actedDisk({ write: door.wait }, journal) })
      await server.listen({ port: 0, host: '127.0.0.1' })
      const [address] = server.addresses
      assert.ok(address && 'port' in address)
      const client = await RawClient.connect(address)
      await client.go()
      const [connection] = server.connections
      assert.ok(connection)
      client.sendRequest(write(1))
      await door.reached
      leave(client)
      await aborted(connection)
      assert.equal(connection.state, 'closed')
      await turns()
      assert.deepEqual(journal, ['open', 'write 512 at 0'])
      door.open()
      await connection.closed
      assert.deepEqual(journal, ['open', 'write 512 at 0', 'close'])
      client.stream.destroy()
    })

  for (const [place, on] of places)
    for (const [part, bytes] of [
      ['header', 10],
      ['payload', 1000],
    ] as const)
      it(`C8 EOF in the middle of a ${part}, ${place}, behind requests that wait for their turn`, async (t) => {
        const doors = [new Door(), new Door(), new Door()]
        const actions: Actions = { write: ({ offset }) => doors[offset / 512]?.wait() }
        const { transmitting } = await on(t, { plugin: actedDisk(actions), threads: 1 })
        const { client, connection } = await transmitting()
        client.send(Buffer.concat([encodeRequest(write(1)), encodeRequest(write(2, 512))]))
        client.send(Buffer.concat([encodeRequest(write(3, 1024)), header.subarray(0, bytes)]))
        client.stream.end()
        for (const door of doors) {
          await door.reached
          await turns()
          door.open()
        }
        assert.equal(await soon(connection.closed), true, 'it is closed')
        assert.equal(connection.signal.aborted, true)
      })

  for (const [place, on] of places)
    it(`C8 EOF between requests, ${place}: what sleeps wakes, and what is in flight is answered`, async (t) => {
      const door = new Door()
      const states: string[] = []
      const actions: Actions = {
        async read({ connection }) {
          await aborted(connection)
          states.push(connection.state)
        },
        write: door.wait,
      }
      const { transmitting } = await on(t, { plugin: actedDisk(actions) })
      const { client, connection } = await transmitting()
      client.sendRequest(read(1))
      client.sendRequest(write(2))
      await door.reached
      client.stream.end()
      assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
      assert.deepEqual(states, ['draining'])
      door.open()
      assert.deepEqual(await answer(client), { cookie: 2, error: 0 })
      await isGone(client)
      await connection.closed
    })

  it('C8 EOF behind a goodbye wakes nobody: the client waits for the end', async (t) => {
    const door = new Door()
    const { transmitting } = await onSocket(t, { plugin: actedDisk({ close: door.wait }) })
    const { client, connection } = await transmitting()
    client.sendRequest(disc)
    client.stream.end()
    await door.reached
    await turns()
    assert.equal(connection.signal.aborted, false)
    door.open()
    await isGone(client)
  })

  it('C8 a client that vanishes while its devices are closed fires the signal', async () => {
    const door = new Door()
    await using server = createServer({ plugin: actedDisk({ close: door.wait }) })
    await server.listen({ port: 0, host: '127.0.0.1' })
    const [address] = server.addresses
    assert.ok(address && 'port' in address)
    const client = await RawClient.connect(address)
    await client.go()
    const [connection] = server.connections
    assert.ok(connection)
    client.sendRequest(disc)
    await door.reached
    assert.ok(client.stream instanceof Socket)
    client.stream.resetAndDestroy()
    await aborted(connection)
    door.open()
    await connection.closed
  })

  it('C8 in the handshake, while its export is opened: the device is closed', async (t) => {
    const journal: string[] = []
    const door = new Door()
    const { server, client: newClient } = await onSocket(t, {
      plugin: actedDisk({ open: door.wait }, journal),
    })
    const client = await newClient()
    await client.greet()
    client.sendOption(NBD_OPT_GO, infoData(''))
    await door.reached
    const [connection] = server.connections
    assert.ok(connection)
    await die(client)
    await aborted(connection)
    door.open()
    await connection.closed
    assert.deepEqual(journal, ['open', 'close'])
  })

  it('C8 before it was served at all', async () => {
    await using server = createServer({ plugin: actedDisk({}), log: silentLog })
    const gone = new Socket().destroy()
    await turns()
    const connection = await server.serve(gone)
    assert.equal(await soon(connection.closed), true, 'it is closed')
  })
})

describe('C9 ESHUTDOWN is 108 on the wire', () => {
  it('C9 in a simple reply, for a client that did not negotiate structured ones', async (t) => {
    const { transmitting } = await onSocket(t, { plugin: actedDisk({}) })
    const { client, connection } = await transmitting()
    connection.disconnect(false)
    client.send(encodeRequest(read(7)))
    const reply = await client.take(16)
    assert.equal(reply.readUInt32BE(0), NBD_SIMPLE_REPLY_MAGIC)
    assert.equal(reply.readUInt32BE(4), 108)
    assert.equal(reply.readBigUInt64BE(8), 7n)
  })

  it('C9 in a structured reply, with a message', async (t) => {
    const { transmitting } = await onSocket(t, { plugin: actedDisk({}) })
    const { client, connection } = await transmitting({ structured: true })
    connection.disconnect(false)
    const [reply] = await client.request(read(7))
    assert.deepEqual([reply?.type, reply?.error, reply?.done], [NBD_REPLY_TYPE_ERROR, 108, true])
    assert.match(reply?.message ?? '', /shutting down/)
  })

  it('C9 a plugin may answer it itself', async (t) => {
    const fail = () => {
      throw new NbdError('ESHUTDOWN', 'the pool is gone')
    }
    const { transmitting } = await onSocket(t, { plugin: actedDisk({ read: fail }) })
    const { client, connection } = await transmitting()
    client.sendRequest(read(1))
    assert.deepEqual(await answer(client), { cookie: 1, error: 108 })
    assert.equal(connection.state, 'transmission')
  })
})

describe('C10 a graceful end runs close of the devices, and ends the stream after that', () => {
  const ends: [what: string, end: (client: RawClient, connection: Connection, server: Server) => void][] = [
    ['DISC', (client) => client.sendRequest(disc)],
    [
      'DISC, and the end of its side',
      (client) => {
        client.sendRequest(disc)
        client.stream.end()
      },
    ],
    ['the end of its side', (client) => client.stream.end()],
    ['a soft disconnect', (_, connection) => connection.disconnect(false, { lingerMs: 0 })],
    ['a shutdown', (_client, _connection, server) => void server.shutdown()],
  ]
  for (const [place, on] of places)
    for (const [what, end] of ends)
      it(`C10 ${what}, ${place}`, async (t) => {
        const door = new Door()
        const { server, transmitting } = await on(t, { plugin: actedDisk({ close: door.wait }) })
        const { client, connection } = await transmitting()
        let gone = false
        const over = isGone(client).then(() => {
          gone = true
        })
        end(client, connection, server)
        await door.reached
        await turns()
        assert.deepEqual([gone, connection.state, client.stream.readableEnded], [false, 'closed', false])
        door.open()
        await over
        await connection.closed
      })

  it('C10 by force the stream goes first', async (t) => {
    const door = new Door()
    const { transmitting } = await onSocket(t, { plugin: actedDisk({ close: door.wait }) })
    const { client, connection } = await transmitting()
    connection.disconnect(true)
    await isGone(client)
    door.open()
    await connection.closed
  })

  /** A client that asks for much, does not read, and says goodbye. */
  const unread = async (t: TestContext, options: Partial<ServerOptions> = {}) => {
    const exports = () => Array.from({ length: 10_000 }, (_, index) => ({ name: `${index}`.padEnd(4000) }))
    const plugin = definePlugin({
      ...{ name: 'many', description: '', params: {} },
      setup: () => ({ exports, open: () => ({ size: 0, read: () => [] }) }),
    })
    const { server, client: newClient } = await onSocket(t, { plugin: plugin(), ...options })
    const client = await newClient()
    await client.greet()
    client.stream.pause()
    return { server, client }
  }

  it('C10 closed waits for the stream: replies that a client leaves unread keep it', async (t) => {
    const { server, client } = await unread(t)
    for (let count = 0; count < 300; count++) client.sendOption(NBD_OPT_INFO, infoData('x'.repeat(4000), [1]))
    client.sendOption(NBD_OPT_ABORT)
    const [connection] = server.connections
    assert.ok(connection)
    await turns(100)
    assert.equal(server.connections.size, 1)
    client.stream.resume()
    await connection.closed
    assert.equal(server.connections.size, 0)
  })

  it('C10 the grace of a shutdown reaches a client that leaves a handshake unread', async (t) => {
    const { server, client } = await unread(t)
    client.sendOption(NBD_OPT_LIST)
    await turns(100)
    await server.shutdown({ graceMs: 1 })
    assert.equal(server.connections.size, 0)
  })

  it('C10 handshakeTimeoutMs reaches it too', async (t) => {
    const { server, client } = await unread(t, { handshakeTimeoutMs: 100 })
    client.sendOption(NBD_OPT_LIST)
    const [connection] = server.connections
    await connection?.closed
    assert.equal(server.connections.size, 0)
  })
})

describe('C11 disconnect says whether it took effect, and called again keeps the earlier time', () => {
  it('C11 it takes effect from open to close', async (t) => {
    const said: boolean[] = []
    const say = ({ connection }: { connection: Connection }) => {
      said.push(connection.disconnect(false), connection.disconnect(true))
    }
    const actions: Actions = { accept: (connection) => say({ connection }), open: say, close: say }
    const { transmitting } = await onSocket(t, { plugin: actedDisk(actions) })
    const { client, connection } = await transmitting()
    assert.equal(connection.disconnect(false), true)
    assert.equal(connection.disconnect(false), true)
    client.sendRequest(disc)
    await connection.closed
    assert.deepEqual(said, Array(6).fill(false))
    const next = await transmitting()
    assert.equal(next.connection.disconnect(true), true)
    assert.equal(next.connection.disconnect(true), false)
  })

  for (const [first, second] of [
    [200, 60_000],
    [60_000, 200],
  ] as const)
    it(`C11 lingerMs ${first} and then ${second}: the shorter holds, and its quiet does not begin anew`, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const { transmitting } = await onSocket(t, { plugin: actedDisk({}) })
      const { client, connection } = await transmitting()
      connection.disconnect(false, { lingerMs: first })
      connection.disconnect(false, { lingerMs: second })
      await turns()
      t.mock.timers.tick(150)
      connection.disconnect(false, { lingerMs: first })
      connection.disconnect(false, { lingerMs: 60_000 })
      connection.disconnect(false)
      await turns()
      assert.equal(connection.state, 'draining')
      t.mock.timers.tick(50)
      await isGone(client)
      // This client keeps its side open, so its bytes are discarded for a moment.
      t.mock.timers.tick(50)
      await connection.closed
      assert.equal(connection.signal.aborted, false)
    })

  for (const [first, second] of [
    [200, 60_000],
    [60_000, 200],
  ] as const)
    it(`C11 deadlineMs ${first} and then ${second}: what is left at the earlier is dropped by force`, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] })
      const door = new Door()
      const { transmitting } = await onSocket(t, { plugin: actedDisk({ read: door.wait }) })
      const { client, connection } = await transmitting()
      client.sendRequest(read(1))
      await door.reached
      connection.disconnect(false, { deadlineMs: first })
      connection.disconnect(false, { deadlineMs: second })
      t.mock.timers.tick(199)
      await turns()
      assert.deepEqual([connection.state, connection.signal.aborted], ['draining', false])
      t.mock.timers.tick(1)
      assert.deepEqual([connection.state, connection.signal.aborted], ['closed', true])
      door.open()
      await isGone(client)
      await connection.closed
    })

  it('C11 a deadline that never comes is cleared with the connection', async (t) => {
    const { transmitting } = await onSocket(t, { plugin: actedDisk({}) })
    const { client, connection } = await transmitting()
    connection.disconnect(false, { deadlineMs: 2 ** 31 - 1 })
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const before = timers()
    client.sendRequest(disc)
    await connection.closed
    assert.equal(timers(), before - 1)
  })
})

describe('C12 memory that was lent for a write which never came changes nothing', () => {
  const size = 256 * 1024
  const large = encodeRequest({ type: NBD_CMD_WRITE, length: size, payload: Buffer.alloc(size, 'x') })
  for (const [place, on] of places)
    for (const [what, type, byte] of [
      ['wrote', NBD_CMD_WRITE, 'w'],
      ['zeroed', NBD_CMD_WRITE_ZEROES, '\0'],
      ['trimmed', NBD_CMD_TRIM, '\0'],
    ] as const)
      it(`C12 ${place}: what another client ${what}, before and meanwhile, is what everybody reads`, async (t) => {
        const { transmitting } = await on(t, { plugin: memory({ size }) })
        const { client: dying, connection } = await transmitting()
        const { client: living } = await transmitting()
        const payload = type === NBD_CMD_WRITE ? { payload: Buffer.alloc(size, byte) } : {}
        const change = async () => {
          const [reply] = await living.request({ type, length: size, ...payload })
          assert.equal(reply?.error, 0)
        }
        await change()
        dying.send(large.subarray(0, 100_000))
        await turns()
        await change()
        dying.send(large.subarray(100_000, size))
        await turns()
        dying.stream.destroy()
        await connection.closed
        // A byte beside them brings nothing back.
        await living.request({ type: NBD_CMD_WRITE, offset: 7, length: 1, payload: Buffer.from(byte) })
        const [reply] = await living.request({ type: NBD_CMD_READ, length: size })
        assert.ok(reply?.data.equals(Buffer.alloc(size, byte)))
      })
})

describe('a connection tells of itself', () => {
  it('as JSON: who it is, since when, and what was done for it', async (t) => {
    const begun = Date.now()
    const fail = () => {
      throw new NbdError('EIO', 'no')
    }
    const { transmitting } = await onSocket(t, { plugin: actedDisk({ flush: fail }) })
    const { client, connection } = await transmitting({ name: 'disk' })
    for (const request of [read(1, 0, 4096), read(2), write(3, 0, 1024), { type: NBD_CMD_FLUSH, cookie: 4 }])
      await client.request(request)
    const { since, peer, ...rest } = JSON.parse(JSON.stringify(connection))
    assert.ok(Date.parse(since) >= begun && Date.parse(since) <= Date.now())
    assert.equal(peer.family, 'unix')
    assert.deepEqual(rest, {
      id: 1,
      state: 'transmission',
      exportName: 'disk',
      readOnly: false,
      tls: false,
      requests: 4,
      bytesRead: 4608,
      bytesWritten: 1024,
    })
  })
})
