import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type DeviceInit, HOLE, ZERO } from '../../api/device.js'
import { ConfigError, NbdError } from '../../api/errors.js'
import { silentLog } from '../../api/log.js'
import { isPromise } from '../../api/maybe.js'
import { defineFilter, definePlugin, type FilterInstance } from '../../api/plugin.js'
import { openChain } from '../../chain/open.js'
import { Running } from '../../chain/running.js'
import { endAll, makeReady, noConnection, setUp } from '../../chain/setup.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import log from './log.js'

/** 1 MiB of memory that supports everything. */
function ram(extra: Partial<DeviceInit> = {}) {
  const disk = new Uint8Array(2 ** 20)
  const device: DeviceInit = {
    size: disk.length,
    can: { fua: 'native', fastZero: true },
    read: (offset, length) => disk.subarray(offset, offset + length),
    write: (offset, data) => disk.set(data, offset),
    flush() {},
    trim() {},
    zero: (offset, length) => void disk.fill(0, offset, offset + length),
    cache() {},
    extents: (_offset, length) => [{ length, type: 0 }],
    ...extra,
  }
  return definePlugin({
    name: 'ram',
    description: 'for tests',
    params: {},
    setup: () => ({ open: () => device }),
  })()
}

/** The name of a log file, and a function that reads its lines without their times. */
async function logFile(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-log-'))
  t.after(() => rm(directory, { recursive: true }))
  const file = join(directory, 'disk.log')
  const lines = async () => {
    const text = await readFile(file, 'utf8')
    assert.match(text, /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} .*\n)*$/)
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => line.slice(27))
  }
  return { directory, file, lines }
}

const connect =
  'connection=1 Connect export="" tls=0 size=0x100000 minsize=0x1 prefsize=0x1000 maxsize=0xffffffff ' +
  'write=1 flush=1 rotational=0 trim=1 zero=2 fua=2 extents=1 cache=2 fast_zero=1'
const data = new Uint8Array(512)
const no = { fua: false, mayTrim: false, fast: false }

test('log writes the lines of nbdkit, before and after each request', async (t) => {
  const { file, lines } = await logFile(t)
  const device = await openDevice(ram(), [log({ file })])
  await readBytes(device, 0, 512)
  await device.write(0, data, no)
  await device.write(1024, data, { fua: true })
  await device.zero(4096, 4096, { ...no, mayTrim: true })
  await device.zero(4096, 4096, { fua: true, mayTrim: false, fast: true })
  await device.trim(8192, 8192, no)
  await device.trim(8192, 8192, { fua: true })
  for (const _ of await device.extents(0, 65536));
  await device.cache(4096, 8192)
  await device.flush()
  await device.close()
  assert.deepEqual(await lines(), [
    'Ready thread_model=3',
    connect,
    'connection=1 Read id=1 offset=0x0 count=0x200 ...',
    'connection=1 ...Read id=1 return=0',
    'connection=1 Write id=2 offset=0x0 count=0x200 fua=0 ...',
    'connection=1 ...Write id=2 return=0',
    'connection=1 Write id=3 offset=0x400 count=0x200 fua=1 ...',
    'connection=1 ...Write id=3 return=0',
    'connection=1 Zero id=4 offset=0x1000 count=0x1000 trim=1 fua=0 fast=0 ...',
    'connection=1 ...Zero id=4 return=0',
    'connection=1 Zero id=5 offset=0x1000 count=0x1000 trim=0 fua=1 fast=1 ...',
    'connection=1 ...Zero id=5 return=0',
    'connection=1 Trim id=6 offset=0x2000 count=0x2000 fua=0 ...',
    'connection=1 ...Trim id=6 return=0',
    'connection=1 Trim id=7 offset=0x2000 count=0x2000 fua=1 ...',
    'connection=1 ...Trim id=7 return=0',
    'connection=1 Extents id=8 offset=0x0 count=0x10000 ...',
    'connection=1 ...Extents id=8 extents=(0x0 0x10000 "") return=0',
    'connection=1 Cache id=9 offset=0x1000 count=0x2000 ...',
    'connection=1 ...Cache id=9 return=0',
    'connection=1 Flush id=10 ...',
    'connection=1 ...Flush id=10 return=0',
    'connection=1 Disconnect transactions=10',
  ])
})

test('log writes what a client is offered', async (t) => {
  const { file, lines } = await logFile(t)
  const plugin = ram({ rotational: true, blockSize: { minimum: 512, preferred: 65536, maximum: 2 ** 25 } })
  const first = { exportName: "it's a $disk", tls: true, readOnly: true }
  await (await openDevice(plugin, [log({ file })], first)).close()
  const [, line] = await lines()
  assert.equal(
    line,
    'connection=1 Connect export="it\'s a \\$disk" tls=1 size=0x100000 minsize=0x200 prefsize=0x10000 ' +
      'maxsize=0x2000000 write=0 flush=1 rotational=1 trim=0 zero=0 fua=0 extents=1 cache=2 fast_zero=0',
  )
})

test('log keeps an export name on its line, whatever a client puts in it', async (t) => {
  const { file, lines } = await logFile(t)
  await (await openDevice(ram(), [log({ file })], { exportName: 'a\n\u001b[2J' })).close()
  assert.match((await lines())[1] ?? '', /^connection=1 Connect export=\$'a\\012\\033\[2J' tls=0 /)
})

test('log shows errors by name, of a device that throws and of one that rejects', async (t) => {
  const { file, lines } = await logFile(t)
  const plugin = ram({
    read: () => {
      throw new NbdError('ENOSPC', 'for tests')
    },
    write: async () => {
      throw Object.assign(new Error('for tests'), { code: 'EROFS' })
    },
    flush: () => {
      throw new TypeError('for tests')
    },
    trim: () => {
      throw Object.assign(new Error('for tests'), { code: 'ERR_INVALID_STATE' })
    },
    extents: () => {
      throw new NbdError('EINVAL', 'for tests')
    },
  })
  const device = await openDevice(plugin, [log({ file })])
  assert.throws(() => device.read(0, 512, (length) => new Uint8Array(length)), { code: 'ENOSPC' })
  await assert.rejects(async () => device.write(0, data, no), { code: 'EROFS' })
  assert.throws(() => device.flush(), TypeError)
  assert.throws(() => device.trim(0, 512, no))
  assert.throws(() => device.extents(0, 512), { code: 'EINVAL' })
  await device.close()
  assert.deepEqual(
    (await lines()).filter((line) => line.includes('return=')),
    [
      'connection=1 ...Read id=1 return=-1 error=ENOSPC',
      'connection=1 ...Write id=2 return=-1 error=EROFS',
      'connection=1 ...Flush id=3 return=-1 error=EIO',
      'connection=1 ...Trim id=4 return=-1 error=EIO',
      'connection=1 ...Extents id=5 return=-1 error=EINVAL',
    ],
  )
})

test('log shows extents by offset, length and type, neighbours of one type as one', async (t) => {
  const { file, lines } = await logFile(t)
  const types = [HOLE, ZERO, HOLE | ZERO, HOLE | ZERO, 0, 0]
  const device = await openDevice(ram({ extents: () => types.map((type) => ({ length: 512, type })) }), [
    log({ file }),
  ])
  assert.equal([...(await device.extents(256, 4096))].length, 6)
  await device.close()
  const list = '0x100 0x200 "hole" 0x300 0x200 "zero" 0x500 0x400 "hole,zero" 0x900 0x400 ""'
  assert.equal((await lines())[3], `connection=1 ...Extents id=1 extents=(${list}) return=0`)
})

test('log does not ask for more extents than are taken, and shows those', async (t) => {
  const { file, lines } = await logFile(t)
  let asked = 0
  const endless = function* () {
    for (;;) yield { length: 512, type: asked++ % 2 }
  }
  const device = await openDevice(ram({ extents: async () => endless() }), [log({ file })])
  for (const { type } of await device.extents(0, 4096)) if (type === HOLE) break
  assert.equal(asked, 2)
  await device.close()
  assert.equal(
    (await lines())[3],
    'connection=1 ...Extents id=1 extents=(0x0 0x200 "" 0x200 0x200 "hole") return=0',
  )
})

test('log shows an error in the middle of extents', async (t) => {
  const { file, lines } = await logFile(t)
  const failing = function* () {
    yield { length: 512, type: 0 }
    throw new NbdError('ENOMEM', 'for tests')
  }
  const device = await openDevice(ram({ extents: failing }), [log({ file })])
  await assert.rejects(async () => [...(await device.extents(0, 4096))], { code: 'ENOMEM' })
  await device.close()
  assert.equal((await lines())[3], 'connection=1 ...Extents id=1 return=-1 error=ENOMEM')
})

test('log shows what a client asked, not what it is emulated with', async (t) => {
  const { file, lines } = await logFile(t)
  const plugin = ram({ can: { zero: 'emulate', fua: 'emulate', cache: 'emulate' } })
  const device = await openDevice(plugin, [log({ file })])
  await device.zero(0, 2 ** 20, { ...no, fua: true })
  await device.cache(0, 512)
  await device.write(0, data, { fua: true })
  await device.close()
  const [, first, ...rest] = await lines()
  assert.match(first ?? '', / zero=1 fua=1 extents=1 cache=1 /)
  assert.deepEqual(rest, [
    'connection=1 Zero id=1 offset=0x0 count=0x100000 trim=0 fua=1 fast=0 ...',
    'connection=1 ...Zero id=1 return=0',
    'connection=1 Cache id=2 offset=0x0 count=0x200 ...',
    'connection=1 ...Cache id=2 return=0',
    'connection=1 Write id=3 offset=0x0 count=0x200 fua=1 ...',
    'connection=1 ...Write id=3 return=0',
    'connection=1 Disconnect transactions=3',
  ])
})

test('log answers at once over a synchronous device, however long its file takes', async (t) => {
  const { file, lines } = await logFile(t)
  const device = await openDevice(ram(), [log({ file })])
  assert.equal(isPromise(device.write(0, data, no)), false)
  assert.equal(isPromise(device.extents(0, 512)), false)
  await device.close()
  assert.ok((await lines()).includes('connection=1 ...Write id=1 return=0'))
})

test('log shows when each of several requests ended', async (t) => {
  const { file, lines } = await logFile(t)
  const writes: (() => void)[] = []
  const device = await openDevice(ram({ write: () => new Promise((resolve) => writes.push(resolve)) }), [
    log({ file }),
  ])
  const answers = [device.write(0, data, no), device.write(512, data, no)]
  for (const end of writes.reverse()) {
    end()
    await new Promise((resolve) => setImmediate(resolve))
  }
  await Promise.all(answers)
  await device.close()
  assert.deepEqual((await lines()).slice(2, -1), [
    'connection=1 Write id=1 offset=0x0 count=0x200 fua=0 ...',
    'connection=1 Write id=2 offset=0x200 count=0x200 fua=0 ...',
    'connection=1 ...Write id=2 return=0',
    'connection=1 ...Write id=1 return=0',
  ])
})

/** A server whose connections share the log. */
async function serve(t: TestContext, filter: ReturnType<typeof log>, server = silentLog) {
  const running = new Running()
  const chain = await setUp([filter, ram()], { context: {}, log: server, running })
  await makeReady(chain, false, running)
  const { links } = chain
  let ended: Promise<void> | undefined
  const end = () => (ended ??= endAll(links, running))
  t.after(end)
  const request = { exportName: '', readOnly: false, tls: false, connection: noConnection }
  return {
    filter: links[0]?.instance as FilterInstance,
    request,
    open: () => openChain(links, request, running),
    end,
  }
}

test('log numbers the connections of a server in one file, and their requests apart', async (t) => {
  const { file, lines } = await logFile(t)
  const { open, end } = await serve(t, log({ file }))
  const [one, two] = [await open(), await open()]
  await one.flush()
  await two.flush()
  await one.flush()
  await two.close()
  await one.close()
  await end()
  assert.deepEqual(
    (await lines()).filter((line) => !/Connect|return/.test(line)),
    [
      'Ready thread_model=3',
      'connection=1 Flush id=1 ...',
      'connection=2 Flush id=1 ...',
      'connection=1 Flush id=2 ...',
      'connection=2 Disconnect transactions=1',
      'connection=1 Disconnect transactions=2',
    ],
  )
})

test('log shows clients that come, and the exports they are told of', async (t) => {
  const { file, lines } = await logFile(t)
  const { filter, request } = await serve(t, log({ file }))
  filter.accept?.({ ...noConnection, id: 7 })
  const names = ['', 'a b', 'plain'].map((name) => ({ name, description: 'for tests' }))
  const noDefault = () => Promise.resolve('')
  assert.deepEqual([...((await filter.exports?.(request, () => names, noDefault)) ?? [])], names)
  const secure = { ...request, readOnly: true, tls: true }
  const denied = Promise.reject(new NbdError('EPERM', 'for tests'))
  await assert.rejects(async () => filter.exports?.(secure, () => denied, noDefault), { code: 'EPERM' })
  assert.deepEqual(await lines(), [
    'Ready thread_model=3',
    'Preconnect id=7 readonly=0',
    'ListExports id=1 readonly=0 tls=0 ...',
    '...ListExports id=1 exports=("" "a b" plain) return=0',
    'ListExports id=2 readonly=1 tls=1 ...',
    '...ListExports id=2 return=-1 error=EPERM',
  ])
})

test('log empties a file that exists, unless it is told to append', async (t) => {
  const { file, lines } = await logFile(t)
  await writeFile(file, 'something longer than the log of a server that does nothing\n')
  await (await serve(t, log({ file }))).end()
  assert.deepEqual(await lines(), ['Ready thread_model=3'])
  await (await serve(t, log({ file, append: true }))).end()
  assert.deepEqual(await lines(), ['Ready thread_model=3', 'Ready thread_model=3'])
  assert.deepEqual(log.definition.params.file.keys, ['logfile'])
  assert.deepEqual(log.definition.params.append.keys, ['logappend'])
})

test('log goes on at the start of a file that was emptied meanwhile', async (t) => {
  const { file, lines } = await logFile(t)
  const { open } = await serve(t, log({ file }))
  await truncate(file)
  await (await open()).close()
  assert.deepEqual(await lines(), [connect, 'connection=1 Disconnect transactions=0'])
})

test('log leaves the file alone when another layer refuses to be set up', async (t) => {
  const { file } = await logFile(t)
  await writeFile(file, 'of the day before')
  const refuse = defineFilter({
    name: 'refuse',
    description: 'for tests',
    params: {},
    setup() {
      throw new ConfigError('for tests')
    },
  })
  await assert.rejects(openDevice(ram(), [refuse(), log({ file })]), /for tests/)
  assert.equal(await readFile(file, 'utf8'), 'of the day before')
})

test('log refuses a file that cannot be opened, with its name and the reason', async (t) => {
  const { directory } = await logFile(t)
  const file = join(directory, 'none', 'disk.log')
  await assert.rejects(openDevice(ram(), [log({ file })]), (error) => {
    assert.ok(error instanceof ConfigError)
    assert.ok(error.message.startsWith('log: cannot open the log file: ENOENT'))
    assert.ok(error.message.includes(file))
    return true
  })
})

const noFull = existsSync('/dev/full') ? false : 'there is no /dev/full'
test('log that cannot be written fails no request, and says so once', { skip: noFull }, async (t) => {
  const errors: string[] = []
  const server = { ...silentLog, child: () => server, error: (message: string) => errors.push(message) }
  const { open } = await serve(t, log({ file: '/dev/full' }), server)
  const device = await open()
  await device.flush()
  await device.close()
  assert.equal(errors.length, 1)
  assert.match(errors[0] ?? '', /^cannot write to \/dev\/full, lines are missing from here on: ENOSPC/)
})

test('log writes nothing after it was closed', async (t) => {
  const { file, lines } = await logFile(t)
  const { open, end } = await serve(t, log({ file }))
  const device = await open()
  await end()
  await device.flush()
  await device.close()
  assert.deepEqual(await lines(), ['Ready thread_model=3', connect])
})

test('log without a file does nothing', async () => {
  const device = await openDevice(ram(), [log()])
  assert.equal(device.can.fua, 'native')
  await device.close()
})

test('log writes times that never go back', async (t) => {
  const { file } = await logFile(t)
  const device = await openDevice(ram(), [log({ file })])
  for (let i = 0; i < 2000; i++) await device.flush()
  await device.close()
  const times = (await readFile(file, 'utf8')).split('\n').map((line) => line.slice(0, 26))
  times.pop()
  assert.deepEqual(times, [...times].sort())
  const last = Date.parse(`${times.at(-1)?.replace(' ', 'T')}Z`)
  assert.ok(Math.abs(Date.now() - last) < 3_600_000, 'the time is not that of the clock, in UTC')
})

test('log meets the contract of a device, also of one that emulates', async (t) => {
  const { file } = await logFile(t)
  for (const can of [{}, { zero: 'emulate', fua: 'emulate', cache: 'emulate' } as const]) {
    const device = await openDevice(ram({ can }), [log({ file })])
    await deviceContract(device)
    await device.close()
  }
})
