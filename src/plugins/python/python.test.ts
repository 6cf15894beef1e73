import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { HOLE, ZERO } from '../../api/device.js'
import type { OpenRequest, ServerContext } from '../../api/plugin.js'
import { noConnection, noServer } from '../../chain/setup.js'
import { NBD_CMD_READ, NBD_EIO } from '../../protocol/constants.js'
import { createServer } from '../../server/server.js'
import { connectTo, keptLog } from '../../testing/connect.js'
import { deviceContract, openDevice, type RawClient, readBytes } from '../../testing/index.js'
import { until } from '../../testing/until.js'
import python from './python.js'

/** A script in a directory that is removed after the test, and a file `log` beside it. */
async function newScript(t: TestContext, text: string) {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-python-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const script = join(directory, 'script.py')
  const log = join(directory, 'log')
  const prelude = `import nbdkit, errno, os\nlog = lambda text: print(text, file=__import__("io").open(${JSON.stringify(log)}, "a"))\n`
  await writeFile(script, prelude + text)
  const lines = async () => (existsSync(log) ? (await readFile(log, 'utf8')).split('\n').slice(0, -1) : [])
  return { script, lines, directory }
}

const disk = `API_VERSION = 2
disk = bytearray(65536)
def open(readonly): return disk
def get_size(h): return len(h)
def pread(h, buf, offset, flags): buf[:] = h[offset : offset + len(buf)]
def pwrite(h, buf, offset, flags): h[offset : offset + len(buf)] = buf
`

const oldDisk = `disk = bytearray(65536)
def open(readonly): return disk
def get_size(h): return len(h)
def pread(h, count, offset): return h[offset : offset + count]
def pwrite(h, buf, offset): h[offset : offset + len(buf)] = buf
def zero(h, count, offset, may_trim): h[offset : offset + count] = bytes(count)
def flush(h): pass
`

test('python serves what a script reads and writes', async (t) => {
  const { script } = await newScript(t, disk)
  const device = await openDevice(python({ script }))
  assert.equal(device.size, 65536)
  await deviceContract(device)
  await device.close()
})

test('python serves a script of API version 1', async (t) => {
  const { script } = await newScript(t, oldDisk)
  const device = await openDevice(python({ script }))
  const { write, flush, fua, zero } = device.can
  assert.deepEqual({ write, flush, fua, zero }, { write: true, flush: true, fua: 'emulate', zero: 'native' })
  await deviceContract(device)
  await device.close()
})

test('python serves a script that is called from several threads', async (t) => {
  const { script } = await newScript(
    t,
    `${disk}def thread_model(): return nbdkit.THREAD_MODEL_PARALLEL
import threading
both = threading.Barrier(2)
def cache(h, count, offset, flags): both.wait(30)\n`,
  )
  const device = await openDevice(python({ script }))
  await deviceContract(device)
  // Neither ends without the other.
  await Promise.all([device.cache(0, 512), device.cache(0, 512)])
  await device.close()
})

test('python gives a script its settings, in order', async (t) => {
  const { script, lines } = await newScript(
    t,
    `${disk}def config(key, value): log(f"{key}={value}")\ndef config_complete(): log("complete")\n`,
  )
  const settings = [
    ['a', 'b c%'],
    ['a', 'ä\n'],
  ] as const
  await (await openDevice(python({ script, settings }))).close()
  assert.deepEqual(await lines(), ['a=b c%', 'a=ä', '', 'complete'])
})

test('python takes what a script says it can do', async (t) => {
  const { script } = await newScript(
    t,
    `${disk}def export_description(h): return "a disk"
def block_size(h): return (512, 4096, 65536)
def is_rotational(h): return True
def can_multi_conn(h): return True
def can_cache(h): return nbdkit.CACHE_EMULATE
def can_fua(h): return nbdkit.FUA_NATIVE
def can_zero(h): return False
def flush(h, flags): pass
def trim(h, count, offset, flags): assert flags == nbdkit.FLAG_FUA
def extents(h, count, offset, flags):
  yield (0, 4096, 0)
  yield (4096, 61440, nbdkit.EXTENT_HOLE | nbdkit.EXTENT_ZERO)
`,
  )
  const device = await openDevice(python({ script }))
  assert.deepEqual(device.can, {
    ...{ write: true, flush: true, trim: true, extents: true, fastZero: true, multiConn: true },
    ...{ zero: 'emulate', fua: 'native', cache: 'emulate' },
  })
  const { description, blockSize, rotational } = device
  assert.deepEqual([description, blockSize.minimum, rotational], ['a disk', 512, true])
  await device.trim(0, 512, { fua: true })
  assert.deepEqual(
    [...(await device.extents(512, 8192))],
    [
      { length: 3584, type: 0 },
      { length: 61440, type: HOLE | ZERO },
    ],
  )
  await device.close()
})

/** The place in the script, as a stack frame. */
const at = (line: number) => new RegExp(`^ +at pread \\(/.*/script\\.py:${line}:1\\)$`, 'm')

const failures: [what: string, body: string, expected: Readonly<Record<string, RegExp | string>>][] = [
  [
    'an exception',
    'raise ValueError("it is bad")',
    { name: 'ValueError', message: /^it is bad$/, stack: at(10) },
  ],
  [
    'an exception with an errno',
    'nbdkit.set_error(errno.ENOSPC); raise Exception("full")',
    { code: 'ENOSPC', message: /^Exception: full$/ },
  ],
  ['an OSError', '__import__("io").open("/nowhere")', { name: 'FileNotFoundError', stack: at(10) }],
  ['an exception of many lines', 'raise Exception("a\\nb")', { name: 'Exception', message: /^a b$/ }],
  ['sys.exit', 'import sys; sys.exit(3)', { name: 'SystemExit', message: /^3$/ }],
  [
    'an exception with control characters',
    'raise Exception("\\x1b[2J" + "x" * 100000)',
    { name: 'Exception', message: /^\\x1b\[2Jx{3000,4000}…?$/ },
  ],
  [
    'an exception that has no text',
    'raise type("E", (Exception,), {"__str__": 3})()',
    { name: 'E', message: /cannot be had/ },
  ],
]
for (const [what, body, expected] of failures)
  test(`python tells of ${what}, and goes on`, async (t) => {
    const { script } = await newScript(
      t,
      `${disk}def pread(h, buf, offset, flags):\n  if offset == 0: ${body}\n  buf[:] = bytes(len(buf))\n`,
    )
    const device = await openDevice(python({ script }))
    await assert.rejects(readBytes(device, 0, 512), expected)
    assert.equal((await readBytes(device, 512, 512)).length, 512)
    await device.close()
  })

test('python tells of a read of API version 1 that returns too few bytes, and cuts off what is too many', async (t) => {
  const { script } = await newScript(
    t,
    `${oldDisk}def pread(h, count, offset): return bytes(count + (1 if offset else -1))\n`,
  )
  const device = await openDevice(python({ script }))
  await assert.rejects(readBytes(device, 0, 512), { code: 'EIO', message: /511/ })
  assert.equal((await readBytes(device, 512, 512)).length, 512)
  await device.close()
})

const refusals: [what: string, script: string, message: RegExp][] = [
  ['has a syntax error', 'def open(:\n', /script.py:3: SyntaxError/],
  ['raises', 'x = 1\nnowhere()\n', /script.py:4: NameError: name 'nowhere' is not defined/],
  ['has no get_size', disk.replace('get_size', 'size'), /get_size/],
  ['has no open', disk.replace('open', 'opened'), /open/],
  ['asks for an API version that there is not', disk.replace('= 2', '= 3'), /API_VERSION/],
  [
    'refuses a key',
    `${disk}def config(k, v): raise ValueError(k + " is bad")\n`,
    /config: ValueError: key is bad \(script.py:9\)/,
  ],
  ['has no config', disk, /unknown parameter "key"/],
  [
    'is not complete',
    `${disk}def config(k, v): pass\ndef config_complete(): raise Exception("no")\n`,
    /config_complete: Exception: no \(script.py:10\)$/,
  ],
  [
    'is not ready',
    `${disk}def config(k, v): pass\ndef get_ready(): raise Exception("not yet")\n`,
    /get_ready: Exception: not yet \(script.py:10\)$/,
  ],
]
for (const [what, text, message] of refusals)
  test(`python does not start a script that ${what}`, async (t) => {
    const { script } = await newScript(t, text)
    await assert.rejects(openDevice(python({ script, settings: [['key', 'value']] })), {
      name: 'ConfigError',
      message,
    })
  })

test('python does not start without a script, or an interpreter', async (t) => {
  const { script } = await newScript(t, disk)
  await assert.rejects(openDevice(python({ script: '/nowhere.py' })), { message: /there is no such file/ })
  await assert.rejects(openDevice(python({ script, python: '/nowhere/python' })), {
    name: 'ConfigError',
    message: /script.py: it cannot be run: there is no program "\/nowhere\/python": install it/,
  })
  await assert.rejects(openDevice(python({ script, python: '/bin/false' })), {
    name: 'ConfigError',
    message: /script.py: it ended with status 1: is "\/bin\/false" Python 3.8 or later\?$/,
  })
})

test('python does not open where an answer makes no sense', async (t) => {
  const wrong = [
    [`def get_size(h): return "1M"\n`, /get_size/],
    [`def get_size(h): return -1\n`, /get_size/],
    [`def can_fua(h): return 17\n`, /can_fua/],
    [`def block_size(h): return (1, 2)\n`, /block_size/],
    [`def open(readonly): raise Exception("go away")\n`, /^go away$/],
  ] as const
  for (const [text, message] of wrong) {
    const { script } = await newScript(t, disk + text)
    await assert.rejects(openDevice(python({ script })), { message })
  }
})

const values = { python: 'python3', restart: false, settings: [] }
const request: OpenRequest = { exportName: 'one', readOnly: true, tls: false, connection: noConnection }

test('python has the functions of the module nbdkit', async (t) => {
  const { script, lines } = await newScript(
    t,
    `${disk}nbdkit.debug("loaded")
def open(readonly):
  log(f"{readonly} {nbdkit.export_name()} {nbdkit.is_tls()} {nbdkit.stdio_safe()}")
  log(f"{nbdkit.parse_size('1k')} {nbdkit.parse_probability('p', '50%')} {nbdkit.absolute_path('x')}")
  for peer in (nbdkit.peer_pid, nbdkit.peer_uid, nbdkit.peer_gid, nbdkit.peer_name): log(repr(peer()))
  return disk
`,
  )
  const { log, debugs } = keptLog()
  const instance = await python.definition.setup({ ...values, script }, { ...noServer, log })
  const connection = { ...noConnection, peer: { family: 'unix', pid: 5, uid: 6, gid: 7 } } as const
  await instance.open({ ...request, connection })
  const tcp = { ...noConnection, peer: { family: 'tcp', port: 10809, address: '::1' } } as const
  await assert.rejects(async () => instance.open({ ...request, connection: tcp }), /peer_pid/)
  const [first, second, ...peer] = await lines()
  assert.equal(first, 'True one False True')
  assert.equal(second, `1024 0.5 ${join(process.cwd(), 'x')}`)
  assert.deepEqual(peer.slice(0, 4), ['5', '6', '7', "''"])
  assert.ok(debugs.includes('loaded'))
  await instance.close?.()
})

test('python lists exports, and logs the traceback of an exception', async (t) => {
  const { script } = await newScript(
    t,
    `${disk}def list_exports(readonly, tls): return [("a", "first"), "b"]
def default_export(readonly, tls): return "a"
def preconnect(readonly): raise Exception("no clients")
def cleanup(): log("cleanup")
`,
  )
  const { log, debugs } = keptLog()
  const instance = await python.definition.setup({ ...values, script }, { ...noServer, log })
  assert.deepEqual(await instance.exports?.(request), [{ name: 'a', description: 'first' }, { name: 'b' }])
  assert.equal(await instance.defaultExport?.(request), 'a')
  await assert.rejects(async () => instance.accept?.(noConnection), /no clients/)
  assert.ok(debugs.some((text) => text.includes('in preconnect')))
  await instance.close?.()
})

test('python wakes a script that sleeps when its client is dropped, and when the server stops', async (t) => {
  const { script } = await newScript(
    t,
    `${disk}def cache(h, count, offset, flags): log("sleeps"); nbdkit.nanosleep(1000, 0)\n`,
  )
  const { log } = keptLog()
  const [stop, drop] = [new AbortController(), new AbortController()]
  const context: ServerContext = { ...noServer, log, stopping: stop.signal }
  const instance = await python.definition.setup({ ...values, script }, context)
  const connection = { ...noConnection, signal: drop.signal }
  const one = await instance.open({ ...request, connection })
  const two = await instance.open(request)
  const dropped = Promise.resolve(one.cache?.(0, 512))
  drop.abort()
  await assert.rejects(dropped, { code: 'ESHUTDOWN' })
  const stopped = Promise.resolve(two.cache?.(0, 512))
  stop.abort()
  await assert.rejects(stopped, { code: 'ESHUTDOWN' })
  await instance.close?.()
})

for (const model of ['SERIALIZE_ALL_REQUESTS', 'PARALLEL'])
  test(`python wakes a script of ${model} that sleeps for a client which leaves before its export is open`, async (t) => {
    const { script } = await newScript(
      t,
      `${disk}def thread_model(): return nbdkit.THREAD_MODEL_${model}
def preconnect(readonly): nbdkit.nanosleep(1000, 0)
def open(readonly): nbdkit.nanosleep(1000, 0)
def list_exports(readonly, tls): nbdkit.nanosleep(1000, 0); return []
`,
    )
    const { log } = keptLog()
    const instance = await python.definition.setup({ ...values, script }, { ...noServer, log })
    const left = new AbortController()
    const connection = { ...noConnection, signal: left.signal }
    const calls = [
      (async () => instance.accept?.(connection))(),
      (async () => instance.open({ ...request, connection }))(),
      (async () => instance.exports?.({ ...request, connection }))(),
    ]
    left.abort()
    const ends = await Promise.allSettled(calls)
    assert.ok(
      ends.every((end) => end.status === 'rejected' && end.reason.code === 'ESHUTDOWN'),
      JSON.stringify(ends),
    )
    await instance.close?.()
  })

/** A server of a script that dies when read at 512. */
async function mortal(t: TestContext, restart: boolean) {
  const { script, lines } = await newScript(
    t,
    `${disk}def config(key, value): log(key + value)
def get_ready(): log("ready")
def pread(h, buf, offset, flags):
  if offset == 512: os.kill(os.getpid(), 9)
  buf[:] = bytes(len(buf))
`,
  )
  const { log, errors } = keptLog()
  const server = createServer({ plugin: python({ script, restart, settings: [['a', 'b']] }), log })
  t.after(() => server.shutdown({ graceMs: 0 }))
  const connect = async () => (await connectTo(server)).client
  const read = async (client: RawClient, offset = 0) =>
    (await client.request({ type: NBD_CMD_READ, offset, length: 512 }))[0]?.error
  return { connect, read, errors, lines, server }
}

test('python lives on when its process dies: all that it had in hand fails, and the log says why', async (t) => {
  const { connect, read, errors } = await mortal(t, false)
  const [one, two] = [await connect(), await connect()]
  assert.equal(await read(one, 512), NBD_EIO)
  assert.equal(await read(one), NBD_EIO)
  assert.equal(await read(two), NBD_EIO)
  assert.ok(
    errors.some((text) => text.endsWith('script.py: it was killed by SIGKILL')),
    errors.join('\n'),
  )
  await assert.rejects(connect(), /its process has died/)
})

test('python with restart serves new clients with a new process, which is configured again', async (t) => {
  const { connect, read, lines } = await mortal(t, true)
  const one = await connect()
  assert.equal(await read(one, 512), NBD_EIO)
  const [two, three] = await Promise.all([connect(), connect()])
  assert.equal(await read(two), 0)
  assert.equal(await read(three), 0)
  // Its handle belonged to the other process.
  assert.equal(await read(one), NBD_EIO)
  assert.deepEqual(await lines(), ['ab', 'ready', 'ab', 'ready'])
})

const program = fileURLToPath(new URL('../../../../bin/nbdkit-ts', import.meta.url))

/** Processes with this word in their command line, except dead ones. */
function running(word: string): string[] {
  const { stdout } = spawnSync('ps', ['-eo', 'pid=,stat=,args='], { encoding: 'utf8' })
  return stdout.split('\n').filter((line) => line.includes(word) && !/^ *\d+ +Z/.test(line))
}

test('python leaves no process behind when the server is killed, not even one in an endless loop', async (t) => {
  const { script, lines, directory } = await newScript(
    t,
    `${disk}def pread(h, buf, offset, flags):\n  log(str(os.getpid()))\n  while True: pass\n`,
  )
  const socket = join(directory, 'socket')
  const server = spawn(program, ['-f', '-U', socket, 'python', script], { stdio: 'ignore' })
  await until(() => existsSync(socket))
  const client = spawn('nbdsh', ['-u', `nbd+unix:///?socket=${socket}`, '-c', 'h.pread(512, 0)'], {
    env: { ...process.env, PATH: `/usr/bin:${process.env.PATH ?? ''}` },
    stdio: 'ignore',
  })
  await until(async () => (await lines()).length > 0)
  const [pid] = await lines()
  server.kill('SIGKILL')
  await once(server, 'exit')
  const isAlive = () => running('').some((line) => line.trim().startsWith(`${pid} `))
  for (let waits = 0; isAlive(); waits++) {
    assert.ok(waits < 500, 'the script still runs')
    await sleep(10)
  }
  client.kill()
})

test('python prints what its script says of itself', async (t) => {
  const { script } = await newScript(
    t,
    `${disk}def dump_plugin(): print("mine=1")\ndef thread_model(): return nbdkit.THREAD_MODEL_PARALLEL\n__doc__ = "key=VALUE  what it is"\n`,
  )
  const dump = execFileSync(program, ['python', script, '--dump-plugin'], { encoding: 'utf8' }).split('\n')
  for (const line of ['name=script', 'thread_model=parallel', 'api_version=2', 'has_pwrite=1', 'mine=1'])
    assert.ok(dump.includes(line), line)
  assert.match(execFileSync(program, ['python', script, '--help'], { encoding: 'utf8' }), /key=VALUE {2}what/)
})
