/** The promises about a connection again, as a client sees them that is not ours: libnbd, through nbdsh. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { ConfigError, type Connection } from '../../src/index.js'
import { isVersion, needs, output } from '../interop/helpers.js'
import { type Action, type Actions, aborted, actedDisk, onSocket, turns } from './helpers.js'

/** `code(call)` is the name of the error of a call, `gone()` waits until the server has closed `h`. */
const prelude = `
import json, nbd, os
h = nbd.NBD()
h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
h.set_strict_mode(0)
def code(call, *args):
    try:
        call(*args)
        return "ok"
    except nbd.Error as error:
        return error.errno
def gone():
    while not (h.aio_is_closed() or h.aio_is_dead()):
        if code(h.poll, 1000) not in ("ok", "ENOTCONN"): return False
    return True
lost = ("ENOTCONN", "ECONNRESET", "EPIPE")
`

interface Served {
  /** What the script left in \`result\`. */
  readonly result: unknown
  /** What the plugin's callbacks were. */
  readonly journal: readonly string[]
  readonly connections: readonly Connection[]
}

/** Runs Python against a disk with these callbacks; \`uri\` is where it is. */
async function nbdsh(t: TestContext, actions: Actions, script: string): Promise<Served> {
  const journal: string[] = []
  const connections: Connection[] = []
  const open: Actions['open'] = (request) => {
    connections.push(request.connection)
    return actions.open?.(request)
  }
  const { server } = await onSocket(t, { plugin: actedDisk({ ...actions, open }, journal) })
  const input = `${prelude}uri = ${JSON.stringify(server.uri)}\n${script.trim()}\nprint(json.dumps(result))\n`
  const result: unknown = JSON.parse(await output('nbdsh', ['-n', '-c', '-'], { input }))
  for (const { closed } of connections) await closed
  return { result, journal, connections }
}

describe('with nbdsh', needs('nbdsh'), () => {
  for (const waits of [false, true]) {
    const then = waits ? 'and waits' : 'and answers at once'
    const write =
      (force: boolean): Action =>
      ({ connection }) => {
        connection.disconnect(force)
        return waits ? turns(2) : undefined
      }

    it(`C1 a write that disconnects by force ${then} is lost, and so is the connection`, async (t) => {
      const script = `
h.connect_uri(uri)
result = [code(h.pwrite, b"x" * 512, 0) in lost, gone(), code(h.pread, 512, 0)]`
      const { result, journal, connections } = await nbdsh(t, { write: write(true) }, script)
      // libnbd has noticed, and does not even send it.
      assert.deepEqual(result, [true, true, 'EINVAL'])
      assert.deepEqual(journal, ['open', 'write 512 at 0', 'close'])
      assert.equal(connections[0]?.signal.aborted, true)
    })

    it(`C2 C5 a write that disconnects softly ${then} succeeds, all others fail with ESHUTDOWN`, async (t) => {
      const script = `
h.connect_uri(uri)
result = [
    code(h.pwrite, b"x" * 512, 0), code(h.pread, 512, 0), code(h.pwrite, b"y" * 512, 0),
    code(h.pwrite, b"y" * 1000000, 0), code(h.flush), code(h.trim, 512, 0), code(h.zero, 512, 0),
    code(h.cache, 512, 0), code(h.block_status, 512, 0, lambda *args: 0), code(h.pread, 512, 1 << 40),
    code(h.shutdown), gone()]`
      const { result, journal, connections } = await nbdsh(t, { write: write(false) }, script)
      assert.deepEqual(result, ['ok', ...Array(9).fill('ESHUTDOWN'), 'ok', true])
      assert.deepEqual(journal, ['open', 'write 512 at 0', 'close'])
      assert.equal(connections[0]?.signal.aborted, false)
    })
  }

  it('C2 what is in flight at a soft disconnect is answered, after what came later was refused', async (t) => {
    const actions: Actions = {
      // It ends once the write behind it has asked for the disconnect.
      async read({ connection }) {
        while (connection.state !== 'draining') await turns(1)
        await turns()
      },
      write: ({ connection }) => connection.disconnect(false),
    }
    const script = `
h.connect_uri(uri)
order = []
def done(name): return lambda error: order.append((name, error.value)) or 1
buffer = nbd.Buffer(512)
h.aio_pread(buffer, 0, done("read"))
h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b"x" * 512)), 512, done("write"))
h.aio_flush(done("flush"))
while len(order) < 3: h.poll(-1)
h.shutdown()
result = order`
    const { result } = await nbdsh(t, actions, script)
    assert.deepEqual(result, [
      ['write', 0],
      ['flush', 108],
      ['read', 0],
    ])
  })

  it('C3 a soft disconnect with lingerMs ends a client that does not leave', async (t) => {
    const write: Actions['write'] = ({ connection }) => connection.disconnect(false, { lingerMs: 20 })
    const script = `
h.connect_uri(uri)
result = [code(h.pwrite, b"x" * 512, 0), gone()]`
    const { result, connections } = await nbdsh(t, { write }, script)
    assert.deepEqual(result, ['ok', true])
    assert.equal(connections[0]?.signal.aborted, false)
  })

  it('C4 soft and then hard is hard', async (t) => {
    const write: Actions['write'] = ({ connection }) => {
      connection.disconnect(false)
      connection.disconnect(true)
    }
    const script = `
h.connect_uri(uri)
result = [code(h.pwrite, b"x" * 512, 0) in lost, gone()]`
    assert.deepEqual((await nbdsh(t, { write }, script)).result, [true, true])
  })

  it('C6 another handle goes on, and a third connects', async (t) => {
    const write: Actions['write'] = ({ connection, offset }) => connection.disconnect(offset === 0)
    const script = `
other, third = nbd.NBD(), nbd.NBD()
h.connect_uri(uri)
other.connect_uri(uri)
result = [code(h.pwrite, b"x" * 512, 0) in lost]
third.connect_uri(uri)
for one in (other, third):
    result += [code(one.pread, 512, 0), code(one.pwrite, b"x" * 512, 512), code(one.pread, 512, 0)]
    one.shutdown()`
    const { result } = await nbdsh(t, { write }, script)
    assert.deepEqual(result, [true, 'ok', 'ok', 'ESHUTDOWN', 'ok', 'ok', 'ESHUTDOWN'])
  })

  it('C7 disconnect in open does nothing, a throw refuses', async (t) => {
    const open: Actions['open'] = ({ connection, exportName }) => {
      connection.disconnect(true)
      if (exportName === 'secret') throw new ConfigError('not for you')
    }
    const script = `
h.connect_uri(uri)
result = [code(h.pread, 512, 0)]
h.shutdown()
h = nbd.NBD()
h.set_export_name("secret")
try: h.connect_unix(uri.split("socket=")[1])
except nbd.Error as error: result += [error.errno, error.string]`
    const { result } = await nbdsh(t, { open }, script)
    const [read, refused, why] = result as string[]
    assert.deepEqual([read, refused], ['ok', 'ENOENT'])
    // An older libnbd keeps to itself what the server says.
    assert.match(why ?? '', isVersion('nbdsh', '1.22') ? /not for you/ : /no export named 'secret'/)
  })

  it('C8 a process that ends in the middle of a write', async (t) => {
    const signals: AbortSignal[] = []
    const { promise: dropped, resolve: drop } = promiseWithResolvers()
    const read: Actions['read'] = async ({ connection }) => {
      signals.push(connection.signal)
      await aborted(connection)
      drop()
    }
    const script = `
h.connect_uri(uri)
h.aio_pread(nbd.Buffer(512), 0)
h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(1000000)), 0)
print("null", flush=True)
os._exit(0)
result = None`
    const { journal } = await nbdsh(t, { read }, script)
    await dropped
    assert.deepEqual(journal, ['open', 'read 512 at 0', 'close'])
    assert.equal(signals[0]?.aborted, true)
  })

  it('C9 a client without structured replies gets ESHUTDOWN too', async (t) => {
    const write: Actions['write'] = ({ connection }) => connection.disconnect(false)
    const script = `
h.set_request_structured_replies(False)
h.connect_uri(uri)
result = [h.get_structured_replies_negotiated(), code(h.pwrite, b"x" * 512, 0), code(h.pread, 512, 0)]
h.shutdown()`
    assert.deepEqual((await nbdsh(t, { write }, script)).result, [false, 'ok', 'ESHUTDOWN'])
  })

  it('S6 a client that is connected at a shutdown gets ESHUTDOWN, and is closed', async (t) => {
    const write: Actions['write'] = ({ server }) => server.shutdown()
    const script = `
h.connect_uri(uri)
result = [code(h.pwrite, b"x" * 512, 0)]
seen = code(h.pread, 512, 0)
while seen == "ok": seen = code(h.pread, 512, 0)
result += [seen, gone()]`
    assert.deepEqual((await nbdsh(t, { write }, script)).result, ['ok', 'ESHUTDOWN', true])
  })
})

function promiseWithResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
