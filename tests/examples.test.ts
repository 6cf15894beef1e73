/**
 * Runs every example: as a user does, with clients that are not ours, and as the compiled files that they
 * become.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createServer, definePlugin, type Layer } from 'nbdkit-ts'
import memory from 'nbdkit-ts/plugins/memory'
import { deviceContract, openDevice, pair, RawClient, readBytes } from 'nbdkit-ts/testing'
import disconnect from '../examples/disconnect.js'
import ramDisk from '../examples/ram-disk.js'
import shutdown from '../examples/shutdown.js'
import xor from '../examples/xor.js'
import { needs } from './interop/helpers.js'
import { packageRoot } from './programs.js'

const program = join(packageRoot, 'bin', 'nbdkit-ts')
/** The module of nbdsh belongs to the system's own Python, not to one that comes first in the PATH. */
const env = { ...process.env, PATH: `/usr/bin${delimiter}${process.env.PATH ?? ''}` }

async function run(words: readonly string[]) {
  const child = spawn(process.execPath, words, { cwd: packageRoot, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk) => (stdout += chunk))
  child.stderr.on('data', (chunk) => (stderr += chunk))
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, stdout, stderr }
}

/** Serves with the program, while a command of the shell runs. */
const serve = (words: readonly string[], command: string) => run([program, ...words, '--run', command])

/** A client in Python, with the handle `h`; `failure(call)` gives the name of its error. */
const client = (python: string) => `nbdsh -u "$uri" -c '
def failure(call):
  try: call()
  except nbd.Error as error: return error.errno
${python}
'`

describe('the examples, served by the program', { concurrency: 2 }, () => {
  it('are those that are tested here', () => {
    const tested = ['disconnect', 'embed', 'ram-disk', 'serve-stream', 'shutdown', 'xor']
    const found = readdirSync(join(packageRoot, 'examples')).filter((name) => name.endsWith('.ts'))
    assert.deepEqual(
      found.sort(),
      tested.map((name) => `${name}.ts`),
    )
  })

  it('ram-disk has the size it is given', needs('nbdinfo'), async () => {
    const { stdout, stderr } = await serve(['./examples/ram-disk.ts', '64M'], 'nbdinfo --size "$uri"')
    assert.equal(stdout, `${64 * 2 ** 20}\n`, stderr)
  })

  it('ram-disk is shared by its clients', needs('nbdsh'), async () => {
    const command = `${client('h.pwrite(b"hello", 512)')}; ${client('print(h.pread(6, 511))')}`
    const { stdout, stderr } = await serve(['./examples/ram-disk.ts', 'size=1M'], command)
    assert.equal(stdout, "bytearray(b'\\x00hello')\n", stderr)
  })

  it('xor gives a client its own bytes and zeroes back', needs('nbdsh'), async () => {
    const command = client('h.pwrite(b"hello", 0); h.zero(2, 1); print(h.pread(5, 0))')
    const words = ['--filter=./examples/xor.ts', './examples/ram-disk.ts', '1M', 'mask=0x55']
    const { stdout, stderr } = await serve(words, command)
    assert.equal(stdout, "bytearray(b'h\\x00\\x00lo')\n", stderr)
  })

  it('disconnect lets the write of a soft client succeed, and fails the next', needs('nbdsh'), async () => {
    const write = 'lambda: h.pwrite(b"x", 0)'
    const command = client(`print(failure(${write}), failure(${write})); h.shutdown()`)
    const { stdout, stderr } = await serve(['./examples/disconnect.ts', '-e', 'soft'], command)
    assert.equal(stdout, 'None ESHUTDOWN\n', stderr)
  })

  it('disconnect cuts a client off that asked for force, and serves the next', needs('nbdsh'), async () => {
    const cut = client('print(failure(lambda: h.pwrite(b"x", 0)), h.aio_is_ready())')
    const next = client('print(h.pread(1, 0))')
    const { stdout, stderr } = await serve(['./examples/disconnect.ts', '-e', 'force'], `${cut}; ${next}`)
    assert.equal(stdout, "ENOTCONN False\nbytearray(b'\\x00')\n", stderr)
  })

  it('shutdown answers the write that stops it, and takes no client after it', needs('nbdsh'), async () => {
    const stop = client('print(failure(lambda: h.pwrite(b"stop", 0)))')
    const next = client('print("served")')
    const command = `${stop}; ${next} 2>/dev/null || echo gone`
    const { stdout, stderr } = await serve(['./examples/shutdown.ts'], command)
    assert.equal(stdout, 'None\ngone\n', stderr)
  })

  it('embed runs a command on a server that is gone afterwards', needs('nbdinfo'), async () => {
    const { stdout, stderr, status } = await run([built('embed'), 'nbdinfo', '--size'])
    assert.equal(stdout, `${64 * 2 ** 20}\n`, stderr)
    assert.equal(status, 0)
  })
})

function built(name: string): string {
  return join(dirname(fileURLToPath(import.meta.url)), '..', 'examples', `${name}.js`)
}

/** A client of a plugin, in this process, and the server that serves it. */
async function clientOf(plugin: Layer<'plugin'>, name: string) {
  const [ours, theirs] = pair()
  const server = createServer({ plugin })
  const connection = await server.serve(ours)
  const client = new RawClient(theirs)
  await client.go({ name, structured: true })
  const write = async (text: string) => {
    const payload = Buffer.from(text)
    const [part] = await client.request({ type: 1, length: payload.length, payload })
    return part?.error
  }
  return { server, connection, client, write }
}

describe('the examples, compiled', () => {
  it('ram-disk meets the contract of a device', () => meetsContract(ramDisk({ size: '256k' })))

  it('xor meets the contract of a device, over a disk that knows holes', () =>
    meetsContract(memory({ size: '256k' }), [xor({ mask: 0x5a })]))

  it('xor changes each byte on its way down, zeroes too', async () => {
    const disk = new Uint8Array(4)
    const device = await openDevice(plain(disk), [xor()])
    await device.write(0, Buffer.from([0, 1, 0xff]), { fua: false })
    assert.deepEqual([...disk], [0xff, 0xfe, 0, 0])
    await device.zero(1, 3, { fua: false, mayTrim: true, fast: false })
    assert.deepEqual([...disk], [0xff, 0xff, 0xff, 0xff])
    await device.close()
  })

  it('xor leaves alone the bytes that it was lent', async () => {
    const disk = Uint8Array.of(1, 2, 3)
    const device = await openDevice(plain(disk), [xor()])
    assert.deepEqual([...(await readBytes(device, 0, 3))], [0xfe, 0xfd, 0xfc])
    const data = Buffer.from([9])
    await device.write(0, data, { fua: false })
    assert.deepEqual([...disk, ...data], [0xf6, 2, 3, 9])
    await device.close()
  })

  it('disconnect drains a soft client', async () => {
    const { server, connection, write, client } = await clientOf(disconnect(), 'soft')
    assert.deepEqual([await write('x'), await write('x')], [0, 108])
    assert.equal(connection.state, 'draining')
    client.sendRequest({ type: 2 })
    await connection.closed
    await server.shutdown()
  })

  it('disconnect answers a client no more that asked for force', async () => {
    const { server, connection, write } = await clientOf(disconnect(), 'force')
    await assert.rejects(write('x'), /closed the connection/)
    await connection.closed
    await server.shutdown()
  })

  it('disconnect refuses an export that it does not have, and says what it has', async () => {
    await assert.rejects(openDevice(disconnect(), [], { exportName: 'other' }), {
      message: 'there is no export "other": ask for soft or force',
    })
  })

  it('shutdown stops the server at the word, and at no other', async () => {
    const { server, write } = await clientOf(shutdown(), '')
    assert.equal(await write('start'), 0)
    assert.equal(server.state, 'serving')
    assert.equal(await write('stop'), 0)
    await server.stopped
  })

  it('shutdown stops the server when its export is asked for, and refuses that', async () => {
    let asked = 0
    const onShutdown = () => void asked++
    const opened = openDevice(shutdown(), [], { exportName: 'stop', onShutdown })
    await assert.rejects(opened, { code: 'ESHUTDOWN', message: 'the server stops now' })
    assert.equal(asked, 1)
  })

  it('serve-stream serves its client and ends', async () => {
    const { stdout, stderr, status } = await run([built('serve-stream')])
    assert.match(stdout, /sees a disk of 67108864 bytes\nit wrote and reads: hello\nit has gone/, stderr)
    assert.equal(status, 0)
  })
})

/** A disk whose bytes a test can look at. */
function plain(disk: Uint8Array): Layer<'plugin'> {
  return definePlugin({
    name: 'plain',
    description: 'for tests',
    params: {},
    setup: () => ({
      open: () => ({
        size: disk.length,
        read: (offset, length) => disk.subarray(offset, offset + length),
        write: (offset, data) => disk.set(data, offset),
        zero: (offset, length) => void disk.fill(0, offset, offset + length),
      }),
    }),
  })()
}

async function meetsContract(plugin: Layer<'plugin'>, filters: readonly Layer<'filter'>[] = []) {
  const device = await openDevice(plugin, filters)
  await deviceContract(device)
  await device.close()
}
