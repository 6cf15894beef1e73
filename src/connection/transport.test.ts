/** Each kind of transport, over a real socket where the kind is one of sockets. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, Socket } from 'node:net'
import { type Duplex, PassThrough } from 'node:stream'
import { describe, type TestContext, test } from 'node:test'
import { acceptHandles, type Handle } from '../net/onread-socket.js'
import { descriptorOf } from '../net/socket-descriptor.js'
import { pair } from '../testing/pair.js'
import { until } from '../testing/until.js'
import { type Connect, overAccepted, overDescriptor, overStream, type Transport } from './transport.js'

/** What a transport reported, and the bytes that came. */
function started(connectTo: Connect, stopAfter = Number.POSITIVE_INFINITY) {
  const seen = { bytes: Buffer.alloc(0), events: [] as string[] }
  const memory = new Uint8Array(8)
  const transport: Transport = connectTo({
    buffer: () => memory,
    received(length, chunk = memory) {
      seen.bytes = Buffer.concat([seen.bytes, chunk.subarray(0, length)])
      return seen.bytes.length < stopAfter
    },
    ended: () => seen.events.push('ended'),
    closed: (error) => seen.events.push(error ? `closed: ${error.message}` : 'closed'),
  })
  return { transport, seen }
}

/** A connected pair of sockets: a client, and what a listener was given for it. */
async function accepted(t: TestContext): Promise<{ client: Socket; theirs: Handle | Socket }> {
  const listener = createServer({ allowHalfOpen: true, pauseOnConnect: true })
  const given = new Promise<Handle | Socket>((resolve) => {
    acceptHandles(listener, resolve)
    listener.once('connection', resolve)
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const client = connect((listener.address() as { port: number }).port, '127.0.0.1')
  t.after(() => {
    client.destroy()
    listener.close()
  })
  return { client, theirs: await given }
}

const kinds: Readonly<Record<string, (t: TestContext) => Promise<{ client: Duplex; connectTo: Connect }>>> = {
  'any stream': async () => {
    const [client, theirs] = pair()
    return { client, connectTo: overStream(theirs) }
  },
  'an accepted client': async (t) => {
    const { client, theirs } = await accepted(t)
    return { client, connectTo: overAccepted(theirs) }
  },
}

for (const [kind, make] of Object.entries(kinds))
  describe(`over ${kind}`, () => {
    test('nothing is read before resume, then all that comes', async (t) => {
      const { client, connectTo } = await make(t)
      const { transport, seen } = started(connectTo)
      client.write('hello, and more than eight bytes')
      await new Promise((resolve) => setTimeout(resolve, 50))
      assert.equal(seen.bytes.length, 0)
      transport.resume()
      await until(() => seen.bytes.toString() === 'hello, and more than eight bytes')
      transport.stream.destroy()
    })

    test('reading stops where the receiver has enough, and goes on', async (t) => {
      const { client, connectTo } = await make(t)
      const { transport, seen } = started(connectTo, 4)
      transport.resume()
      client.write('12345678')
      await until(() => seen.bytes.length > 0)
      client.write('abcdefgh')
      await new Promise((resolve) => setTimeout(resolve, 50))
      const before = seen.bytes.length
      assert.ok(before < 16, seen.bytes.toString())
      transport.resume()
      await until(() => seen.bytes.length > before)
      transport.stream.destroy()
    })

    test('the end of the peer and the end of the stream are told, once each', async (t) => {
      const { client, connectTo } = await make(t)
      const { transport, seen } = started(connectTo)
      transport.resume()
      client.end('x')
      await until(() => seen.events.includes('ended'))
      assert.deepEqual(seen.events, ['ended'])
      transport.stream.end()
      transport.stream.destroy()
      await until(() => seen.events.length > 1)
      assert.deepEqual(seen.events, ['ended', 'closed'])
    })

    test('what is written comes to the peer', async (t) => {
      const { client, connectTo } = await make(t)
      const { transport } = started(connectTo)
      transport.stream.write('hello')
      assert.equal(String((await once(client, 'data'))[0]), 'hello')
      transport.stream.destroy()
    })
  })

test('a stream that died before it was served is reported as closed', async () => {
  const stream = new PassThrough()
  stream.destroy()
  await once(stream, 'close')
  const { seen } = started(overStream(stream))
  await until(() => seen.events.length > 0)
  assert.deepEqual(seen.events, ['closed'])
})

test('a failure of the stream comes with its error', async () => {
  const [, theirs] = pair()
  const { seen } = started(overStream(theirs))
  theirs.destroy(new Error('torn'))
  await until(() => seen.events.length > 0)
  assert.deepEqual(seen.events, ['closed: torn'])
})

test('only a socket is known to copy what is written', async (t) => {
  const { theirs } = await accepted(t)
  const socket = started(overAccepted(theirs)).transport
  assert.equal(socket.copies, true)
  socket.stream.destroy()
  assert.equal(started(overStream(pair()[0])).transport.copies, false)
})

test('a descriptor that is no stream cannot be served', () => {
  assert.throws(() => overDescriptor(1_000_000))
})

test('a descriptor of a connected socket is served, and closed with the connection', async (t) => {
  const { client, theirs } = await accepted(t)
  const fd = theirs instanceof Socket ? descriptorOf(theirs) : theirs.fd
  const { transport, seen } = started(overDescriptor(fd ?? assert.fail('none')))
  transport.resume()
  client.write('hello')
  await until(() => seen.bytes.toString() === 'hello')
  transport.stream.destroy()
  await until(() => seen.events.length > 0)
  assert.deepEqual(seen.events, ['closed'])
})
