/** Tests the load client against our own server, and against servers that answer wrongly. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createSocketServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { NbdError } from '../src/api/errors.js'
import { definePlugin } from '../src/api/plugin.js'
import memory from '../src/plugins/memory/memory.js'
import { encodeGreeting, encodeInfoExport, encodeOptionReply } from '../src/protocol/handshake.js'
import { createServer } from '../src/server/server.js'
import type { RequestMode, RequestSettings } from './load-client.js'
import { holdConnections, loadConnections, loadRequests } from './load-modes.js'
import { parseTarget, type Target } from './load-wire.js'

const mebibyte = 2 ** 20
/** Ends after a count, not after a time. */
const untimed = { connections: 1, warmUpMs: 0, lengthMs: 60_000 }

function settings(mode: RequestMode, more: Partial<RequestSettings> = {}): RequestSettings {
  const usual = { blockBytes: 4096, stepBytes: 4096, depth: 16, count: 500 }
  return { mode, ...usual, sequential: false, structured: false, ...more }
}

/** A disk in memory that counts its requests. */
async function counting(t: TestContext, failing = false) {
  const counts = { read: 0, write: 0, flush: 0, open: 0 }
  const written = new Map<number, number>()
  const plugin = definePlugin({
    name: 'counting',
    description: 'for tests',
    params: {},
    setup: () => ({
      open() {
        counts.open++
        return {
          size: mebibyte,
          read(_offset, length, alloc) {
            if (failing && counts.read === 100) throw new NbdError('EIO', 'this one fails')
            counts.read++
            return alloc(length)
          },
          write(offset, { length }) {
            counts.write++
            written.set(offset, length)
          },
          flush: () => void counts.flush++,
        }
      },
    }),
  })
  return { counts, written, target: await serve(t, plugin()) }
}

async function serve(t: TestContext, plugin: ReturnType<typeof memory>): Promise<Target> {
  const server = createServer({ plugin })
  t.after(() => server.shutdown({ graceMs: 0 }))
  await server.listen({ path: socketPath(t) })
  return parseTarget(server.uri ?? '')
}

function socketPath(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'load-client-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return join(folder, 'socket')
}

describe('the load client', () => {
  for (const mode of ['read', 'write', 'flush'] as const)
    test(`counts what the server saw of ${mode}`, async (t) => {
      const { counts, target } = await counting(t)
      const result = await loadRequests(target, settings(mode), untimed)
      assert.equal(result.requests, 500)
      assert.deepEqual(counts, { read: 0, write: 0, flush: 0, open: 1, [mode]: 500 })
    })

  for (const structured of [false, true])
    for (const blockBytes of [512, 4096, 300_000])
      test(`walks replies of ${blockBytes} bytes${structured ? ' in chunks' : ''}`, async (t) => {
        const target = await serve(t, memory({ size: '1M' }))
        const fill = settings('write', { blockBytes: mebibyte, stepBytes: mebibyte, count: 1 })
        await loadRequests(target, fill, untimed)
        const reads = settings('read', { blockBytes, stepBytes: 512, structured, count: 300 })
        assert.equal((await loadRequests(target, reads, untimed)).requests, 300)
      })

  test('writes each block once, one after the other', async (t) => {
    const { counts, written, target } = await counting(t)
    const all = settings('write', { stepBytes: 8192, sequential: true, count: 128 })
    await loadRequests(target, all, untimed)
    assert.equal(counts.write, 128)
    assert.deepEqual(
      [...written.keys()].sort((a, b) => a - b),
      Array.from({ length: 128 }, (_, index) => index * 8192),
    )
  })

  test('writes large blocks, all with one payload', async (t) => {
    const { counts, written, target } = await counting(t)
    const large = { blockBytes: 65536, stepBytes: 65536, sequential: true, count: 100 }
    await loadRequests(target, settings('write', large), untimed)
    assert.equal(counts.write, 100)
    assert.deepEqual([...written].sort(([a], [b]) => a - b).slice(0, 2), [
      [0, 65536],
      [65536, 65536],
    ])
  })

  test('shares the work of several connections', async (t) => {
    const { counts, target } = await counting(t)
    const result = await loadRequests(target, settings('read'), { ...untimed, connections: 4 })
    assert.equal(result.requests, 2000)
    assert.deepEqual([counts.read, counts.open], [2000, 4])
  })

  test('ends when its time is over, and what it sent is answered', async (t) => {
    const { counts, target } = await counting(t)
    const endless = settings('read', { count: Number.POSITIVE_INFINITY })
    const result = await loadRequests(target, endless, { connections: 2, warmUpMs: 5, lengthMs: 20 })
    assert.equal(result.requests, counts.read)
    assert.ok(result.perSecond > 0 && result.seconds > 0)
  })

  test('counts connections', async (t) => {
    const { counts, target } = await counting(t)
    const result = await loadConnections(target, { connections: 3, warmUpMs: 0, lengthMs: 20 })
    assert.equal(result.requests, counts.open)
  })

  test('holds connections, also with reads that it does not take', async (t) => {
    const { counts, target } = await counting(t)
    const wires = [
      ...(await holdConnections(target, { connections: 5, reads: 0, blockBytes: 0 })),
      ...(await holdConnections(target, { connections: 2, reads: 1, blockBytes: 65536 })),
    ]
    assert.deepEqual([wires.length, counts.open], [7, 7])
    for (const { socket } of wires) socket.destroy()
  })
})

describe('the load client fails', () => {
  test('at a reply with an error', async (t) => {
    const { target } = await counting(t, true)
    await assert.rejects(loadRequests(target, settings('read'), untimed), /a read failed with error 5/)
    const chunks = settings('read', { structured: true })
    await assert.rejects(loadRequests(target, chunks, untimed), /a read failed: a chunk of type 32769/)
  })

  test('on a disk that is smaller than a request', async (t) => {
    const target = await serve(t, memory({ size: '1K' }))
    await assert.rejects(loadRequests(target, settings('read'), untimed), /1024 bytes: fewer than a request/)
  })

  /** Does the handshake, then sends these bytes. */
  const answering = async (t: TestContext, bytes: Buffer) => {
    const path = socketPath(t)
    const sockets: Socket[] = []
    const server = createSocketServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => {}).write(encodeGreeting(3))
      const go = [encodeOptionReply(7, 3, encodeInfoExport(mebibyte, 1)), encodeOptionReply(7, 1)]
      let received = 0
      socket.on('data', ({ length }: Buffer) => {
        // 4 bytes of flags, 16 of the option, and 6 of its data. Requests follow.
        if (received < 26 && received + length >= 26) socket.write(Buffer.concat(go))
        else if (received >= 26) socket.end(bytes)
        received += length
      })
    })
    await new Promise<void>((resolve) => server.listen(path, resolve))
    t.after(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
    return loadRequests({ address: { path }, exportName: '' }, settings('flush'), untimed)
  }
  const reply = (magic: number, cookie: number) => {
    const bytes = Buffer.alloc(16)
    bytes.writeUInt32BE(magic, 0)
    bytes.writeUInt32BE(cookie, 12)
    return bytes
  }

  test('at a magic that is wrong', async (t) => {
    await assert.rejects(answering(t, reply(0x12345678, 0)), /a reply begins with 0x12345678/)
  })

  test('at a cookie that it does not know, and at one that was answered', async (t) => {
    await assert.rejects(answering(t, reply(0x67446698, 16)), /not in flight: 0x10/)
    const twice = Buffer.concat([reply(0x67446698, 3), reply(0x67446698, 3)])
    await assert.rejects(answering(t, twice), /not in flight: 0x3/)
  })

  test('when the server goes away', async (t) => {
    await assert.rejects(answering(t, Buffer.alloc(0)), /the server closed the connection/)
  })

  test('where nobody listens, and for a URI that is none', async (t) => {
    const target = { address: { path: socketPath(t) }, exportName: '' }
    await assert.rejects(loadRequests(target, settings('read'), untimed), /ENOENT/)
    assert.throws(() => parseTarget('nbd+unix:///'), /is no URI of a server/)
  })
})
