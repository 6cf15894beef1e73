import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { type TestContext, test } from 'node:test'
import type { ConnectionState } from '../../api/connection.js'
import { type Device, type DeviceInit, HOLE, ZERO } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'
import { defineFilter, definePlugin } from '../../api/plugin.js'
import { noConnection } from '../../chain/setup.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import delay from './delay.js'

/** 64 KiB of memory that supports everything, and records its calls. */
function ram(extra: Partial<DeviceInit> = {}) {
  const calls: string[] = []
  const disk = new Uint8Array(65536)
  const device: DeviceInit = {
    size: disk.length,
    can: { fastZero: true },
    read: (offset, length) => {
      calls.push('read')
      return disk.subarray(offset, offset + length)
    },
    write: (offset, data) => {
      calls.push('write')
      disk.set(data, offset)
    },
    flush: () => void calls.push('flush'),
    trim: () => void calls.push('trim'),
    zero: (offset, length) => {
      calls.push('zero')
      disk.fill(0, offset, offset + length)
    },
    cache: () => void calls.push('cache'),
    extents: (_offset, length, context) => {
      calls.push('extents')
      return [{ length, type: context === 'x-test:holes' ? HOLE | ZERO : 0 }]
    },
    contexts: ['x-test:holes'],
    close: () => void calls.push('close'),
    ...extra,
  }
  const open = () => {
    calls.push('open')
    return device
  }
  const plugin = definePlugin({ name: 'ram', description: 'for tests', params: {}, setup: () => ({ open }) })
  return { plugin: plugin(), calls }
}

function client() {
  const controller = new AbortController()
  const state: ConnectionState = 'transmission'
  const connection = { ...noConnection, id: 1, signal: controller.signal, state: state as ConnectionState }
  return {
    connection,
    /** Drops by force. As in the server, the state is closed before the signal fires. */
    drop() {
      connection.state = 'closed'
      controller.abort()
    },
    /** The client ends its side, and may still read. */
    askNoMore: () => controller.abort(),
    listeners: () => getEventListeners(controller.signal, 'abort').length,
  }
}

/** Stops the clock, and returns a function to advance it and let requests be answered. */
function stopTime(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  return async (ms: number) => {
    t.mock.timers.tick(ms)
    // After this, everything that waited only for the timers has settled.
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const read = (device: Device) => readBytes(device, 0, 512)
const data = new Uint8Array(512)
const flags = { fua: false, mayTrim: true, fast: false }
const requests: Record<string, (device: Device) => unknown> = {
  read,
  write: (device) => device.write(0, data, flags),
  zero: (device) => device.zero(0, 512, flags),
  trim: (device) => device.trim(0, 512, flags),
  extents: (device) => device.extents(0, 512),
  cache: (device) => device.cache(0, 512),
}

for (const [name, send] of Object.entries(requests)) {
  test(`delay waits before a ${name} goes on`, async (t) => {
    const pass = stopTime(t)
    const { plugin, calls } = ram()
    const device = await openDevice(plugin, [delay({ [name]: 5 })])
    const answer = send(device)
    await pass(4)
    assert.deepEqual(calls, ['open'])
    await pass(1)
    assert.deepEqual(calls, ['open', name])
    await answer
    await device.close()
  })
}

test('delay reads a bare number as seconds, as on the command line', async (t) => {
  const pass = stopTime(t)
  const { plugin, calls } = ram()
  const device = await openDevice(plugin, [delay({ read: '2' })])
  const answer = read(device)
  await pass(1999)
  assert.deepEqual(calls, ['open'])
  await pass(1)
  await answer
  await device.close()
})

test('delay has nbdkit names for its parameters on the command line', () => {
  const keys = Object.values(delay.definition.params).flatMap((parameter) => parameter.keys)
  assert.deepEqual(keys.sort(), [
    'delay-cache',
    'delay-close',
    'delay-discard',
    'delay-discards',
    'delay-extent',
    'delay-extents',
    'delay-fast-zero',
    'delay-open',
    'delay-read',
    'delay-reads',
    'delay-trim',
    'delay-trims',
    'delay-write',
    'delay-writes',
    'delay-zero',
    'delay-zeroes',
    'rdelay',
    'wdelay',
  ])
})

test('delay of changes holds for a write, a zero and a trim, unless one has its own', async (t) => {
  const pass = stopTime(t)
  const { plugin, calls } = ram()
  const device = await openDevice(plugin, [delay({ changes: 10, zero: 5, trim: 0 })])
  const answers = ['write', 'zero', 'trim', 'read'].map((name) => requests[name]?.(device))
  assert.deepEqual(calls, ['open', 'trim', 'read'])
  await pass(5)
  assert.deepEqual(calls, ['open', 'trim', 'read', 'zero'])
  await pass(5)
  assert.deepEqual(calls, ['open', 'trim', 'read', 'zero', 'write'])
  await Promise.all(answers)
  await device.close()
})

test('delay leaves what it does not delay as the inner function itself', async () => {
  let inner: Device | undefined
  const below = defineFilter({
    name: 'below',
    description: 'for tests',
    params: {},
    setup: () => ({
      async open(request, next) {
        inner = await next(request)
        return inner
      },
    }),
  })
  const operations = ['read', 'write', 'flush', 'trim', 'zero', 'extents', 'cache'] as const
  const own = async (filter: ReturnType<typeof delay>) => {
    const device = await openDevice(ram().plugin, [filter, below()])
    await device.close()
    return operations.filter((name) => device[name] !== inner?.[name])
  }
  assert.deepEqual(await own(delay()), [])
  assert.deepEqual(await own(delay({ read: 1 })), ['read'])
  assert.deepEqual(await own(delay({ changes: 1 })), ['write', 'trim', 'zero'])
  assert.deepEqual(await own(delay({ open: 1, close: 1 })), [])
})

test('delay of extents holds for the contexts that the device names', async (t) => {
  const pass = stopTime(t)
  const device = await openDevice(ram().plugin, [delay({ extents: 5 })])
  const runs = device.extents(0, 512, 'x-test:holes')
  assert.ok(runs instanceof Promise)
  await pass(5)
  assert.deepEqual([...(await runs)], [{ length: 512, type: HOLE | ZERO }])
  await device.close()
})

test('delay of a cache request holds where caching is emulated by reads', async (t) => {
  const pass = stopTime(t)
  const { plugin, calls } = ram({ can: { cache: 'emulate' } })
  const device = await openDevice(plugin, [delay({ cache: 5 })])
  const answer = device.cache(0, 512)
  await pass(4)
  assert.deepEqual(calls, ['open'])
  await pass(1)
  await answer
  assert.deepEqual(calls, ['open', 'read'])
  await device.close()
})

test('delay refuses a fast zero at once where it is told to, and delays the others', async (t) => {
  const pass = stopTime(t)
  const { plugin, calls } = ram({ can: { fastZero: false } })
  const device = await openDevice(plugin, [delay({ zero: 5, fastZero: false })])
  assert.equal(device.can.fastZero, true)
  assert.throws(() => device.zero(0, 512, { ...flags, fast: true }), { code: 'ENOTSUP' })
  const answer = device.zero(0, 512, flags)
  await pass(5)
  await answer
  assert.deepEqual(calls, ['open', 'zero'])
  await device.close()
})

test('delay leaves fast zeroes alone where zeroes are not delayed', async () => {
  const { plugin, calls } = ram()
  const device = await openDevice(plugin, [delay({ fastZero: false })])
  device.zero(0, 512, { ...flags, fast: true })
  assert.deepEqual(calls, ['open', 'zero'])
  await device.close()
})

test('delay ends at once with ESHUTDOWN when the client is dropped, and nothing goes on', async () => {
  const { plugin, calls } = ram()
  const { connection, drop, listeners } = client()
  const device = await openDevice(plugin, [delay({ read: 2 ** 31 - 1 })], { connection })
  const answers = Array.from({ length: 20 }, () => read(device))
  assert.equal(listeners(), 1)
  drop()
  for (const answer of answers) await assert.rejects(answer, { code: 'ESHUTDOWN' })
  assert.equal(listeners(), 0)
  assert.deepEqual(calls, ['open'])
  await device.close()
})

test('delay ends when the client asks no more, and the requests go on', async () => {
  const { plugin, calls } = ram()
  const { connection, askNoMore } = client()
  const device = await openDevice(plugin, [delay({ read: 2 ** 31 - 1 })], { connection })
  const answers = [read(device), read(device)]
  askNoMore()
  assert.deepEqual(
    (await Promise.all(answers)).map(({ length }) => length),
    [512, 512],
  )
  await read(device)
  assert.deepEqual(calls, ['open', 'read', 'read', 'read'])
  await device.close()
})

test('delay leaves no listener behind when a request ends by itself', async () => {
  const { connection, listeners } = client()
  const device = await openDevice(ram().plugin, [delay({ read: 1 })], { connection })
  await read(device)
  assert.equal(listeners(), 0)
  await device.close()
})

test('delay of opening comes before what is below is opened', async (t) => {
  const pass = stopTime(t)
  const { plugin, calls } = ram()
  const opening = openDevice(plugin, [delay({ open: 5 })])
  await pass(0)
  await pass(4)
  assert.deepEqual(calls, [])
  await pass(1)
  const device = await opening
  assert.deepEqual(calls, ['open'])
  await device.close()
})

test('delay of opening ends when the client is dropped, and nothing is opened', async () => {
  const { plugin, calls } = ram()
  const { connection, drop } = client()
  const opening = openDevice(plugin, [delay({ open: 2 ** 31 - 1 })], { connection })
  drop()
  await assert.rejects(opening, { code: 'ESHUTDOWN' })
  assert.deepEqual(calls, [])
})

test('delay of closing comes before what is below is closed', async (t) => {
  const pass = stopTime(t)
  const { plugin, calls } = ram()
  const device = await openDevice(plugin, [delay({ close: 5 })])
  const closing = device.close()
  await pass(4)
  assert.deepEqual(calls, ['open'])
  await pass(1)
  await closing
  assert.deepEqual(calls, ['open', 'close'])
})

test('delay of closing is for a client that leaves, not for one that is dropped', async () => {
  const { plugin, calls } = ram()
  const before = client()
  let device = await openDevice(plugin, [delay({ close: 2 ** 31 - 1 })], before)
  before.drop()
  await device.close()
  const during = client()
  device = await openDevice(plugin, [delay({ close: 2 ** 31 - 1 })], during)
  const closing = device.close()
  during.drop()
  await closing
  assert.deepEqual(calls, ['open', 'close', 'open', 'close'])
})

test('delay meets the contract of a device', async () => {
  const filter = delay({ read: 1, changes: 1, extents: 1, cache: 1, open: 1, close: 1 })
  const device = await openDevice(ram().plugin, [filter])
  await deviceContract(device)
  await device.close()
})

test('delay meets the contract of a device that emulates', async () => {
  const { plugin } = ram({ can: { zero: 'emulate', fua: 'emulate', cache: 'emulate' } })
  const device = await openDevice(plugin, [delay({ changes: 1, fastZero: false })])
  await deviceContract(device)
  await device.close()
})

test('delay refuses a time that is none, and names the key', async () => {
  await assert.rejects(openDevice(ram().plugin, [delay({ read: 'soon' })]), (error) => {
    assert.ok(error instanceof ConfigError)
    assert.match(error.message, /^delay: rdelay: could not parse delay "soon"/)
    return true
  })
  await assert.rejects(openDevice(ram().plugin, [delay({ close: -1 })]), /delay-close: .* out of range/)
})
