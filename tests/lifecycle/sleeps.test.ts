/** The promise S11 of docs/lifecycle.md, and the part of C8 that wakes who sleeps: with the filter delay. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import delay from '../../src/filters/delay/delay.js'
import noparallel from '../../src/filters/noparallel/noparallel.js'
import { NBD_CMD_DISC, NBD_OPT_GO, NBD_REP_ERR_SHUTDOWN } from '../../src/protocol/constants.js'
import { infoData, RawClient } from '../../src/testing/index.js'
import { type Actions, actedDisk, answer, die, isGone, onSocket, read, turns, write } from './helpers.js'

/** Longer than any test may take. */
const ever = 2 ** 31 - 1

async function slow(
  t: TestContext,
  inputs: Parameters<typeof delay>[0],
  disk?: Buffer<ArrayBuffer>,
  actions: Actions = {},
) {
  const journal: string[] = []
  const site = await onSocket(t, { plugin: actedDisk(actions, journal, disk), filters: [delay(inputs)] })
  return { ...site, journal }
}

describe('S11 a shutdown wakes whoever sleeps on purpose', () => {
  it('S11 delayed requests are done at once, and answered', async (t) => {
    const disk = Buffer.alloc(1024 * 1024)
    const { server, transmitting, journal } = await slow(t, { read: ever, changes: ever, close: ever }, disk)
    const [one, two] = [await transmitting(), await transmitting()]
    one.client.sendRequest(write(1))
    one.client.sendRequest(read(2, 512))
    two.client.sendRequest(write(3, 1024))
    await turns()
    assert.deepEqual(journal, ['open', 'open'])
    const stopped = server.shutdown()
    const answers = [await answer(one.client), await answer(one.client), await answer(two.client)]
    assert.deepEqual(
      answers,
      [1, 2, 3].map((cookie) => ({ cookie, error: 0 })),
    )
    await stopped
    assert.deepEqual([disk[0], disk[512], disk[1024]], [1, 0, 3])
  })

  it('S11 a delay of opening ends, and the client is refused', async (t) => {
    const { server, client: newClient, journal } = await slow(t, { open: ever })
    const client = await newClient()
    await client.greet()
    client.sendOption(NBD_OPT_GO, infoData(''))
    await turns()
    assert.deepEqual(journal, [])
    const stopped = server.shutdown()
    assert.equal((await client.optionReply()).type, NBD_REP_ERR_SHUTDOWN)
    await stopped
    assert.deepEqual(journal, ['open', 'close', 'close disk'])
  })

  it('S11 a delay of closing ends', async (t) => {
    const { server, transmitting, journal } = await slow(t, { close: ever })
    const { client } = await transmitting()
    client.sendRequest({ type: NBD_CMD_DISC })
    await turns()
    assert.deepEqual(journal, ['open'])
    await server.shutdown()
    assert.deepEqual(journal, ['open', 'close', 'close disk'])
  })

  it('S11 a delay that a client left behind holds up nothing', async (t) => {
    const { server, transmitting } = await slow(t, { read: ever })
    const { client } = await transmitting()
    client.sendRequest(read(1))
    client.sendRequest({ type: NBD_CMD_DISC })
    await turns()
    await die(client)
    await server.shutdown()
  })
})

describe('C8 a client that is gone, or asks no more, wakes what sleeps for it', () => {
  it('C8 a client that ends its side is answered at once', async (t) => {
    const { transmitting } = await slow(t, { read: ever, close: ever })
    const { client, connection } = await transmitting()
    client.sendRequest(read(1))
    client.stream.end()
    assert.deepEqual(await answer(client), { cookie: 1, error: 0 })
    await isGone(client)
    await connection.closed
  })

  it('C8 the next one is served where clients are served one by one', async (t) => {
    const { path, transmitting, server } = await onSocket(t, {
      plugin: actedDisk({}),
      filters: [delay({ read: ever, close: ever }), noparallel({ serialize: 'connections' })],
    })
    const { client } = await transmitting()
    client.sendRequest(read(1))
    const next = await RawClient.connect({ path })
    await turns()
    assert.equal(server.connections.size, 1)
    await die(client)
    await next.go()
    await die(next)
  })

  it('C8 a goodbye cuts no delay of closing short: whoever waits for the end has seen it', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { transmitting, journal } = await slow(t, { close: 5000 })
    const { client, connection } = await transmitting()
    client.sendRequest({ type: NBD_CMD_DISC })
    client.stream.end()
    await happens(() => connection.state === 'closed')
    await turns()
    t.mock.timers.tick(4999)
    await turns()
    assert.deepEqual(journal, ['open'])
    t.mock.timers.tick(1)
    await isGone(client)
    assert.deepEqual(journal, ['open', 'close'])
  })
})

/** Waits while the clock stands still. */
async function happens(condition: () => boolean): Promise<void> {
  while (!condition()) await turns(1)
}
