import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Capabilities, Device, DeviceInit } from '../../api/device.js'
import { silentLog } from '../../api/log.js'
import type { MaybePromise } from '../../api/maybe.js'
import { type Concurrency, definePlugin } from '../../api/plugin.js'
import { openChain } from '../../chain/open.js'
import { Running } from '../../chain/running.js'
import { makeReady, noConnection, setUp } from '../../chain/setup.js'
import { deviceContract, openDevice, readBytes, seeded } from '../../testing/index.js'
import multiConn from './multi-conn.js'

type Inputs = NonNullable<Parameters<typeof multiConn>[0]>

const no = { fua: false, mayTrim: false, fast: false }
const durable = { ...no, fua: true }
const data = new Uint8Array(512)

interface DiskOptions {
  readonly can?: Partial<Capabilities>
  readonly concurrency?: Concurrency
  readonly flush?: (connection: number) => MaybePromise<void>
  readonly without?: 'flush'
}

/** Opens devices of one server. Each records its calls with its number, counted from 1. */
async function start(inputs: Inputs, { can, concurrency, flush, without }: DiskOptions = {}) {
  const calls: string[] = []
  let connections = 0
  const open = (): DeviceInit => {
    const number = ++connections
    const note = (what: string) => void calls.push(`${number} ${what}`)
    const device: DeviceInit = {
      size: 65536,
      ...(can ? { can } : {}),
      read(_offset, length) {
        note('read')
        return new Uint8Array(length)
      },
      write: (_offset, _data, { fua }) => note(fua ? 'write fua' : 'write'),
      trim: () => note('trim'),
      zero: () => note('zero'),
      cache: () => note('cache'),
      close: () => note('close'),
    }
    if (without === 'flush') return device
    return {
      ...device,
      flush() {
        note('flush')
        return flush?.(number)
      },
    }
  }
  const plugin = definePlugin({
    name: 'noting',
    description: 'for tests',
    params: {},
    setup: () => ({ open, ...(concurrency ? { concurrency } : {}) }),
  })
  const running = new Running()
  const context = { readOnly: false, shutdown() {} }
  const chain = await setUp([multiConn(inputs), plugin()], { context, log: silentLog, running })
  await makeReady(chain, false, running)
  return {
    calls,
    open: (exportName = '') =>
      openChain(chain.links, { exportName, readOnly: false, tls: false, connection: noConnection }, running),
  }
}

const steps: Readonly<Record<string, (device: Device) => MaybePromise<unknown>>> = {
  write: (device) => device.write(0, data, no),
  fua: (device) => device.write(0, data, durable),
  trim: (device) => device.trim(0, 512, no),
  zero: (device) => device.zero(0, 512, no),
  read: (device) => readBytes(device, 0, 512),
  cache: (device) => device.cache(0, 512),
  flush: (device) => device.flush(),
  close: (device) => device.close(),
}

/** Has clients a and b run `script`, and returns the disk's calls without reads. */
async function play(inputs: Inputs, script: string, options?: DiskOptions): Promise<string> {
  const { calls, open } = await start(inputs, options)
  const clients: Record<string, Device> = { a: await open(), b: await open() }
  for (const [client = '', step = ''] of script.split(', ').map((words) => words.split(' '))) {
    const device = clients[client]
    assert.ok(device)
    await steps[step]?.(device)
  }
  return calls.filter((call) => !/read|cache/.test(call)).join(', ')
}

const emulate = { mode: 'emulate' } as const
const flushesAll = { can: { multiConn: true } } as const

test('multi-conn tells clients of it as the mode says', async () => {
  const told = async (mode: Inputs['mode'], options?: DiskOptions) => {
    const { open } = await start({ mode }, options)
    return (await open()).can.multiConn
  }
  for (const [mode, without, within] of [
    ['auto', true, true],
    ['emulate', true, true],
    ['plugin', false, true],
    ['disable', false, false],
    ['unsafe', true, true],
  ] as const) {
    assert.equal(await told(mode), without, mode)
    assert.equal(await told(mode, flushesAll), within, mode)
    assert.equal(await told(mode, { ...flushesAll, concurrency: 'serialize-connections' }), false, mode)
  }
})

test('multi-conn-mode=emulate passes a flush on to each connection that wrote, and to no other', async () => {
  assert.equal(await play(emulate, 'a write, a flush, a flush'), '1 write, 1 flush')
  assert.equal(await play(emulate, 'b write, a flush, b flush'), '2 write, 2 flush')
  assert.equal(await play(emulate, 'a trim, b zero, a flush'), '1 trim, 2 zero, 1 flush, 2 flush')
  assert.equal(await play(emulate, 'a flush, b flush'), '')
  assert.equal(await play(emulate, 'a read, b read, a flush'), '')
})

test('multi-conn-mode=emulate then passes it on to each that may have read what was there before', async () => {
  assert.equal(await play(emulate, 'b read, a write, a flush, a flush'), '1 write, 1 flush, 2 flush')
  assert.equal(await play(emulate, 'b cache, a write, a flush, a flush'), '1 write, 1 flush, 2 flush')
  assert.equal(await play(emulate, 'a write, b read, b flush, a flush'), '1 write, 1 flush, 2 flush')
  assert.equal(await play(emulate, 'a write, a flush, b read, a flush'), '1 write, 1 flush')
  assert.equal(
    await play(emulate, 'a write, a flush, b read, a write, a flush'),
    '1 write, 1 flush, 1 write, 1 flush, 2 flush',
  )
})

test('multi-conn-mode=emulate makes a durable write a write and a flush of all', async () => {
  for (const fua of ['native', 'emulate', 'none'] as const) {
    const { open } = await start(emulate, { can: { fua } })
    assert.equal((await open()).can.fua, 'emulate')
    assert.equal(
      await play(emulate, 'b write, a fua', { can: { fua } }),
      '2 write, 1 write, 1 flush, 2 flush',
    )
  }
})

test('multi-conn-mode=emulate flushes a connection that wrote when it closes: a later flush covers it', async () => {
  assert.equal(await play(emulate, 'b write, b close, a flush'), '2 write, 2 flush, 2 close')
  assert.equal(await play(emulate, 'b read, b close, a flush'), '2 close')
})

test('multi-conn-track-dirty=fast flushes every connection once any has written, and else none', async () => {
  const inputs = { mode: 'emulate', trackDirty: 'fast' } as const
  assert.equal(await play(inputs, 'a flush, b read, b flush'), '')
  assert.equal(await play(inputs, 'b write, a flush, b flush'), '2 write, 2 flush, 1 flush')
})

test('multi-conn-track-dirty=off flushes every connection each time', async () => {
  const inputs = { mode: 'emulate', trackDirty: 'off' } as const
  assert.equal(await play(inputs, 'a flush, b flush'), '1 flush, 2 flush, 1 flush, 2 flush')
  assert.equal(await play(inputs, 'b write, a flush'), '2 write, 2 flush, 1 flush')
})

test('multi-conn over a disk that flushes all at once leaves out flushes that nobody needs', async () => {
  for (const mode of ['auto', 'plugin', 'disable', 'unsafe'] as const)
    for (const trackDirty of ['connection', 'fast'] as const) {
      const inputs = { mode, trackDirty }
      assert.equal(
        await play(inputs, 'b read, a write, a flush, a flush, b flush', flushesAll),
        '1 write, 1 flush',
      )
      assert.equal(await play(inputs, 'a write, b flush, a flush', flushesAll), '1 write, 2 flush')
      assert.equal(
        await play(inputs, 'a write, a close, b flush, b flush', flushesAll),
        '1 write, 1 close, 2 flush',
      )
    }
})

test('multi-conn without emulation flushes a connection that wrote, or may have read what is old', async () => {
  for (const mode of ['plugin', 'disable', 'unsafe'] as const) {
    assert.equal(await play({ mode }, 'b read, b flush'), '')
    assert.equal(
      await play({ mode }, 'b read, a write, a flush, a flush, b flush, b flush'),
      '1 write, 1 flush, 2 flush',
    )
    assert.equal(await play({ mode }, 'a write, b read, a flush, b flush'), '1 write, 1 flush, 2 flush')
    assert.equal(await play({ mode }, 'a write, b flush, a flush'), '1 write, 1 flush')
    assert.equal(
      await play({ mode }, 'a write, b read, b flush, b read, a flush, b flush'),
      '1 write, 2 flush, 1 flush, 2 flush',
    )
  }
})

test('multi-conn without emulation and multi-conn-track-dirty=fast takes a flush of one for one of all', async () => {
  for (const mode of ['plugin', 'disable', 'unsafe'] as const)
    assert.equal(await play({ mode, trackDirty: 'fast' }, 'a write, b flush, a flush'), '1 write, 2 flush')
})

test('multi-conn without emulation and multi-conn-track-dirty=off passes every flush on', async () => {
  for (const mode of ['plugin', 'disable', 'unsafe'] as const)
    assert.equal(await play({ mode, trackDirty: 'off' }, 'a flush, b flush'), '1 flush, 2 flush')
})

test('multi-conn needs no flush after a write that is durable by itself', async () => {
  const options = { can: { fua: 'native', multiConn: true } } as const
  for (const trackDirty of ['connection', 'fast'] as const)
    assert.equal(await play({ trackDirty }, 'a fua, a flush, b flush', options), '1 write fua')
})

test('multi-conn-exportname=true keeps exports of different names apart', async () => {
  for (const byExportName of [true, false]) {
    const { calls, open } = await start({ ...emulate, byExportName })
    const [one, two] = [await open('one'), await open('two')]
    await one.write(0, data, no)
    await two.flush()
    assert.deepEqual(calls, byExportName ? ['1 write'] : ['1 write', '1 flush'])
  }
})

test('multi-conn remembers a write of somebody who left, for whoever comes next', async () => {
  for (const byExportName of [true, false]) {
    const { calls, open } = await start({ byExportName }, flushesAll)
    const first = await open('one')
    await first.write(0, data, no)
    await first.close()
    const second = await open('one')
    await second.flush()
    await second.flush()
    assert.deepEqual(calls, ['1 write', '1 close', '2 flush'])
    await second.close()
  }
})

test('multi-conn forgets nothing when a flush fails', async () => {
  for (const [inputs, options] of [
    [emulate, {}],
    [{ mode: 'plugin' }, {}],
    [{ mode: 'plugin' }, flushesAll],
  ] as const) {
    let failing = true
    const flush = () => {
      if (failing) throw Object.assign(new Error('for tests'), { code: 'ENOSPC' })
    }
    const { calls, open } = await start(inputs, { ...options, flush })
    const device = await open()
    await device.write(0, data, no)
    await assert.rejects(async () => device.flush(), { code: 'ENOSPC' })
    failing = false
    await device.flush()
    await device.flush()
    assert.deepEqual(calls, ['1 write', '1 flush', '1 flush'])
  }
})

/** A flush that the test completes. */
function byHand() {
  const ends: (() => void)[] = []
  const flush = () => new Promise<void>((resolve) => ends.push(resolve))
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
  return { ends, flush, turn }
}

test('multi-conn does not answer a flush before the same flush of another has ended', async () => {
  for (const [inputs, options] of [
    [emulate, {}],
    [{ mode: 'plugin' }, flushesAll],
  ] as const) {
    const { ends, flush, turn } = byHand()
    const { open } = await start(inputs, { ...options, flush })
    const [one, two] = [await open(), await open()]
    await one.write(0, data, no)
    const answered: string[] = []
    const first = Promise.resolve(one.flush()).then(() => answered.push('one'))
    const second = Promise.resolve(two.flush()).then(() => answered.push('two'))
    await turn()
    assert.deepEqual(answered, [])
    for (const end of ends) end()
    await Promise.all([first, second])
  }
})

test('multi-conn-track-dirty=fast waits for a flush that is on its way, and needs no other', async () => {
  const { ends, flush, turn } = byHand()
  const { calls, open } = await start({ mode: 'emulate', trackDirty: 'fast' }, { flush })
  const [one] = [await open(), await open()]
  await one.write(0, data, no)
  const first = one.flush()
  ends.shift()?.()
  await turn()
  let answered = false
  const second = Promise.resolve(one.flush()).then(() => {
    answered = true
  })
  await turn()
  assert.deepEqual([answered, calls], [false, ['1 write', '1 flush', '2 flush']])
  ends.shift()?.()
  await Promise.all([first, second])
})

test('multi-conn flushes again what was written during a flush', async () => {
  const { ends, flush, turn } = byHand()
  const { calls, open } = await start(emulate, { flush })
  const device = await open()
  await device.write(0, data, no)
  const first = device.flush()
  await device.write(0, data, no)
  ends.shift()?.()
  await first
  const second = device.flush()
  await turn()
  ends.shift()?.()
  await second
  assert.deepEqual(calls, ['1 write', '1 flush', '1 write', '1 flush'])
})

test('multi-conn does not close a device that is flushed for another client', async () => {
  const { ends, flush, turn } = byHand()
  const { calls, open } = await start(emulate, { flush })
  const [one, two] = [await open(), await open()]
  await readBytes(two, 0, 512)
  await one.write(0, data, no)
  const flushed = one.flush()
  ends.shift()?.()
  await turn()
  assert.deepEqual(calls, ['2 read', '1 write', '1 flush', '2 flush'])
  const closed = two.close()
  await turn()
  assert.equal(calls.includes('2 close'), false)
  ends.shift()?.()
  await Promise.all([flushed, closed])
  assert.equal(calls.at(-1), '2 close')
  assert.equal(ends.length, 0)
})

test('multi-conn fails a flush when that of another connection fails', async () => {
  const flush = (connection: number) => {
    if (connection === 2) throw Object.assign(new Error('for tests'), { code: 'EIO' })
  }
  const { open } = await start(emulate, { flush })
  const [one, two] = [await open(), await open()]
  await two.write(0, data, no)
  await assert.rejects(async () => one.flush(), { code: 'EIO' })
})

/** A disk on which each connection holds back its writes and caches its reads until it is flushed. */
function caching(blocks: number) {
  const disk = new Uint8Array(blocks)
  const open = (): DeviceInit => {
    const written = new Map<number, number>()
    const known = new Map<number, number>()
    return {
      size: blocks,
      read(offset, length) {
        const bytes = new Uint8Array(length)
        for (let at = offset; at < offset + length; at++) {
          const byte = written.get(at) ?? known.get(at) ?? disk[at] ?? 0
          known.set(at, byte)
          bytes[at - offset] = byte
        }
        return bytes
      },
      write: (offset, bytes) => {
        for (const [index, byte] of bytes.entries()) written.set(offset + index, byte)
      },
      async flush() {
        await null
        for (const [at, byte] of written) disk[at] = byte
        written.clear()
        known.clear()
      },
    }
  }
  return definePlugin({ name: 'caching', description: 'for tests', params: {}, setup: () => ({ open }) })()
}

test('multi-conn-mode=emulate shows every client what any of them wrote and flushed', async () => {
  for (const trackDirty of ['connection', 'fast', 'off'] as const)
    for (let seed = 1; seed <= 20; seed++) {
      const random = seeded(seed)
      const running = new Running()
      const layers = [multiConn({ mode: 'emulate', trackDirty }), caching(8)]
      const { links } = await setUp(layers, { context: {}, log: silentLog, running })
      const request = { exportName: '', readOnly: false, tls: false, connection: noConnection }
      const open = () => openChain(links, request, running)
      const clients = [await open(), await open(), await open()]
      const model = new Uint8Array(8)
      for (let step = 0; step < 100; step++) {
        const client = random.below(clients.length)
        const device = clients[client]
        assert.ok(device)
        const at = random.below(8)
        if (random.chance(0.4)) await readBytes(device, at, 1)
        if (random.chance(0.1)) {
          await device.close()
          clients[client] = await open()
        }
        const writer = random.pick(clients)
        model[at] = random.below(256)
        await writer.write(at, model.subarray(at, at + 1), { fua: random.chance(0.2) })
        await random.pick(clients).flush()
        for (const [index, reader] of clients.entries())
          assert.deepEqual(
            [...(await readBytes(reader, 0, 8))],
            [...model],
            `${trackDirty}, seed ${seed}, step ${step}: client ${index}`,
          )
      }
      for (const device of clients) await device.close()
    }
})

test('multi-conn leaves a disk alone that cannot be flushed, unless it would have to', async () => {
  for (const mode of ['plugin', 'disable', 'unsafe'] as const)
    assert.equal(await play({ mode }, 'a write, b read', { without: 'flush' }), '1 write')
  for (const mode of ['auto', 'emulate'] as const) {
    const { open } = await start({ mode }, { without: 'flush' })
    await assert.rejects(open(), {
      name: 'ConfigError',
      message: `multi-conn: multi-conn-mode=${mode} needs a disk that can be flushed, and the one below cannot`,
    })
  }
})

test('multi-conn meets the contract of a device in each mode', async () => {
  for (const mode of ['auto', 'emulate', 'plugin', 'disable', 'unsafe'] as const)
    for (const trackDirty of ['connection', 'fast', 'off'] as const) {
      const device = await openDevice(caching(4096), [multiConn({ mode, trackDirty })])
      await deviceContract(device)
      await device.close()
    }
})

test('multi-conn refuses a mode that there is not, and names the key', async () => {
  const untyped = multiConn as unknown as (inputs: object) => ReturnType<typeof multiConn>
  for (const [inputs, message] of [
    [{ mode: 'on' }, 'multi-conn: multi-conn-mode: "on" is none of auto, emulate, plugin, disable, unsafe'],
    [{ trackDirty: 'slow' }, 'multi-conn: multi-conn-track-dirty: "slow" is none of connection, fast, off'],
    [{ byExportName: 'some' }, /^multi-conn: multi-conn-exportname: could not decipher boolean/],
  ] as const)
    await assert.rejects(openDevice(caching(512), [untyped(inputs)]), { name: 'ConfigError', message })
})
