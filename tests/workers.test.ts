/** Several threads that serve (`--workers`), as a user meets them. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { NBD_CMD_FLUSH, NBD_CMD_READ, NBD_CMD_WRITE } from '../src/protocol/constants.js'
import { RawClient } from '../src/testing/index.js'
import { complains, newDirectory, program, result, root, run, started } from './cli-helpers.js'

const needsLibc = { skip: process.platform === 'linux' ? false : 'only Linux has threads that serve' }

/** A plugin whose every byte is the number of the thread that serves it, with `more` in its definition. */
function plugin(more: string, instance = ''): string {
  return join(
    newDirectory({
      'plugin.mjs': `
        import { threadId } from 'node:worker_threads'
        import { definePlugin } from ${JSON.stringify(join(root, 'dist', 'package', 'index.js'))}
        export default definePlugin({
          name: 'threads', description: 'for tests', params: {}, ${more},
          setup: (_, server) => ({
            ${instance}
            open: ({ connection }) => ({
              size: 512,
              read: (_, length) => new Uint8Array(length).fill(threadId),
              write() { connection.disconnect(true) },
              flush() { server.shutdown() },
              ${instance === '' ? '' : 'trim() {}'}
            }),
          }),
        })`,
    }),
    'plugin.mjs',
  )
}

/** The second thread fails when it is to be ready; the others wait for `others`. */
const readyInSecond = (others: string) =>
  `ready() { if (threadId === 2) throw new Error('no disk'); return ${others} },`

/** A server, and clients of it, all of which end with the test. */
async function serve(t: TestContext, ...args: string[]) {
  const { child, ended, uri } = await started(['-U', '-', ...args])
  t.after(() => child.kill('SIGKILL'))
  const connect = async () => {
    const client = await RawClient.connect({ path: new URL(uri).searchParams.get('socket') ?? '' })
    t.after(() => client.stream.destroy())
    await client.go()
    return client
  }
  return { child, ended, connect }
}

const read = { type: NBD_CMD_READ, offset: 0, length: 8 }
const textOf = async (client: RawClient) => (await client.request(read))[0]?.data.toString('latin1')

describe('several threads', needsLibc, () => {
  it('are given clients by turns, and serve them at once', async (t) => {
    const { connect } = await serve(t, '--workers=3', plugin("threads: 'isolated'"))
    const clients = [await connect(), await connect(), await connect(), await connect()]
    const [a, b, c, d] = await Promise.all(clients.map(textOf))
    assert.equal(new Set([a, b, c]).size, 3)
    assert.equal(d, a)
    clients[1]?.stream.destroy()
    // The thread that has lost its client is the next.
    for (let tries = 0; ; tries++) {
      await sleep(10)
      const client = await connect()
      if ((await textOf(client)) === b) break
      client.stream.destroy()
      assert.ok(tries < 100)
    }
  })

  it('have one memory', async (t) => {
    const { connect } = await serve(t, '--workers=2', 'memory', '1M')
    const [writer, reader] = [await connect(), await connect()]
    await writer.request({ type: NBD_CMD_WRITE, length: 8, payload: Buffer.from('together') })
    assert.equal(await textOf(reader), 'together')
  })

  it('have the same random bytes, though nobody gave a seed', async (t) => {
    const { connect } = await serve(t, '--workers=2', 'random', '1M')
    assert.equal(await textOf(await connect()), await textOf(await connect()))
  })

  it('stop together when a layer of one of them asks for it', async (t) => {
    const { connect, ended } = await serve(t, '--workers=3', plugin("threads: 'isolated'"))
    const [other, asks] = [await connect(), await connect()]
    await asks.request({ type: NBD_CMD_FLUSH })
    await Promise.all([asks.rest(), other.rest()])
    assert.deepEqual(await ended, { ...(await ended), status: 0, stderr: '' })
  })

  it('drop a client by force, and no other', async (t) => {
    const { connect } = await serve(t, '--workers=2', plugin("threads: 'isolated'"))
    const [first, second, third] = [await connect(), await connect(), await connect()]
    first.sendRequest({ type: NBD_CMD_WRITE, length: 1, payload: Buffer.alloc(1) })
    await first.rest()
    for (const client of [second, third]) assert.equal((await client.request(read))[0]?.error, 0)
  })

  it('stop together on a signal', async (t) => {
    const { connect, child, ended } = await serve(t, '--workers=3', 'memory', '1M')
    const clients = [await connect(), await connect()]
    child.kill('SIGTERM')
    await Promise.all(clients.map((client) => client.rest()))
    assert.deepEqual(await ended, { ...(await ended), status: 0, stderr: '' })
  })

  it('are told apart in debug messages', async (t) => {
    const { connect, child, ended } = await serve(t, '-v', '--workers=2', 'memory', '1M')
    await connect()
    await connect()
    child.kill('SIGTERM')
    const { stderr } = await ended
    for (const number of [1, 2])
      assert.match(stderr, new RegExp(`^nbdkit-ts: worker ${number}: client 1: `, 'm'))
  })

  it('stop, with status 1, when one of them throws what nobody catches', async (t) => {
    const crash = plugin("threads: 'isolated'", "accept() { setImmediate(() => { throw new Error('oh') }) },")
    const { connect, ended } = await serve(t, '--workers=2', crash)
    await connect().catch(() => {})
    const { status, stderr } = await ended
    assert.equal(status, 1)
    assert.match(stderr, /^nbdkit-ts: error: uncaught: Error: oh\n/)
  })

  it('are given up, by name, where a callback never ends', async (t) => {
    const stuck = plugin(
      "threads: 'isolated'",
      'close: () => new Promise(() => setInterval(() => {}, 1000)),',
    )
    const { child, ended } = await serve(t, '--workers=2', '--shutdown-timeout=0', stuck)
    child.kill('SIGTERM')
    const { status, stderr } = await ended
    assert.equal(status, 1)
    assert.match(stderr, /worker 1: error: threads: close was called .* ago and has not ended/)
  })
})

it('several threads drop a client for whom there is no descriptor, and go on', needsLibc, async (t) => {
  const socket = join(newDirectory(), 'socket')
  const words = ['-f', '-U', socket, '--print-uri', '--workers=2', 'null']
  const child = spawn('sh', ['-c', 'ulimit -n 90; exec "$0" "$@"', process.execPath, program, ...words])
  t.after(() => child.kill('SIGKILL'))
  const ended = result(child)
  await once(child.stdout, 'data')
  const clients = await Promise.all(Array.from({ length: 80 }, () => RawClient.connect({ path: socket })))
  const greeted = await Promise.all(clients.map((client) => client.greet().catch(() => undefined)))
  assert.ok(greeted.includes(undefined))
  for (const { stream } of clients) stream.destroy()
  const greets = async () => {
    const client = await RawClient.connect({ path: socket })
    const greeting = await client.greet().catch(() => undefined)
    client.stream.destroy()
    return greeting !== undefined
  }
  // The threads close those who have left as soon as they see it.
  for (let tries = 0; !(await greets()); tries++) {
    assert.ok(tries < 100)
    await sleep(10)
  }
  child.kill('SIGTERM')
  const { status, stderr } = await ended
  // Some clients are dropped before they are accepted, depending on how many arrive in one turn of the loop.
  const line = 'nbdkit-ts: error: a client c(ould not be accepted|annot be given to a thread): too many files'
  assert.match(stderr, new RegExp(`^(${line} are open: ulimit -n says how many may be\\n)+$`))
  assert.equal(status, 0)
})

describe('several threads are refused', needsLibc, () => {
  it('for a layer that does not say that they may be', () =>
    complains('--workers: exitlast cannot be served by several threads', [
      ...['-f', '-U', '-', '--workers=2', '--filter=exitlast', 'null'],
    ]))

  it('where a layer wants one request at a time of all clients', () =>
    complains('a concurrency of serialize-all-requests cannot be kept by several threads', [
      ...['-f', '-U', '-', '--workers=2'],
      plugin("threads: 'isolated'", "concurrency: 'serialize-all-requests',"),
    ]))

  it('where a layer refuses its values, with what it said', () =>
    complains(/^file: cannot serve .*nowhere: ENOENT/, ['-f', '-U', '-', '--workers=2', 'file', 'nowhere']))

  it('where one fails while others are set up, with its words and no blame of those', () =>
    complains(/^threads: ready: no disk /, [
      ...['-f', '-U', '-', '--workers=3'],
      plugin("threads: 'isolated'", readyInSecond('new Promise((ready) => setTimeout(ready, 300))')),
    ]))

  it('where one fails and another is never ready, with the words of the one and the name of the other', async () => {
    const args = ['-f', '-U', '-', '--workers=2']
    const { status, stderr } = await run([
      ...args,
      plugin("threads: 'isolated'", readyInSecond('new Promise(() => setInterval(() => {}, 1000))')),
    ])
    assert.equal(status, 1)
    assert.match(stderr, /^nbdkit-ts: threads: ready: no disk /m)
    assert.match(stderr, /^nbdkit-ts: worker \d: error: threads: ready was called [\d.]+ s ago/m)
  })

  it('but not with auto, which then takes one', async (t) => {
    const { connect } = await serve(t, '--workers=auto', plugin('threads: undefined'))
    assert.equal(await textOf(await connect()), await textOf(await connect()))
  })
})

it('--workers=auto takes a thread for each processor', needsLibc, async (t) => {
  const { connect } = await serve(t, '--workers=auto', plugin("threads: 'isolated'"))
  const texts = []
  for (let count = 0; count < availableParallelism(); count++) texts.push(await textOf(await connect()))
  assert.equal(new Set(texts).size, availableParallelism())
})

it('one client on standard input and output is served by one thread', needsLibc, async () => {
  const { status, stdout, stderr } = await run(['-s', '--workers=2', 'null'])
  assert.deepEqual([stdout.slice(0, 8), stderr, status], ['NBDMAGIC', '', 0])
})
