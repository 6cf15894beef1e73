import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Capabilities, Device, DeviceInit } from '../api/device.js'
import { NbdError } from '../api/errors.js'
import { complete } from './complete.js'
import { Running } from './running.js'

const running = new Running()
const read: DeviceInit['read'] = (_offset, length) => new Uint8Array(length)
const bare: DeviceInit = { size: 4096, read }
const noFlags = { fua: false }
const zeroFlags = { fua: false, mayTrim: false, fast: false }

function plugin(init: Partial<DeviceInit> = {}): Device {
  return complete('disk', 'plugin', { ...bare, ...init }, running)
}

function filter(inner: Device, init: Partial<DeviceInit> = {}): Device {
  return complete('filter', 'filter', { ...inner, ...init }, running)
}

describe('what a device can do', () => {
  const nothing: Capabilities = {
    ...{ write: false, flush: false, trim: false, extents: false, fastZero: false, multiConn: false },
    ...{ zero: 'none', fua: 'none', cache: 'none' },
  }
  const noop = () => {}
  const cases: [has: string, init: Partial<DeviceInit>, can: Partial<Capabilities>][] = [
    ['read alone', {}, {}],
    ['write', { write: noop }, { write: true, zero: 'emulate', fastZero: true }],
    [
      'write and flush',
      { write: noop, flush: noop },
      { write: true, flush: true, zero: 'emulate', fastZero: true, fua: 'emulate' },
    ],
    ['write and zero', { write: noop, zero: noop }, { write: true, zero: 'native' }],
    [
      'write and trim',
      { write: noop, trim: noop },
      { write: true, trim: true, zero: 'emulate', fastZero: true },
    ],
    ['flush without write', { flush: noop }, { flush: true }],
    ['trim and zero without write', { trim: noop, zero: noop }, {}],
    ['cache and extents', { cache: noop, extents: () => [] }, { cache: 'native', extents: true }],
    ['multiConn said', { can: { multiConn: true } }, { multiConn: true }],
    [
      'native FUA said',
      { write: noop, can: { fua: 'native', zero: 'none', fastZero: false } },
      { write: true, fua: 'native' },
    ],
    [
      'methods that it says are not for use',
      { write: noop, flush: noop, trim: noop, can: { write: false, flush: false } },
      {},
    ],
    ['emulated cache said', { can: { cache: 'emulate' } }, { cache: 'emulate' }],
  ]
  for (const [has, init, can] of cases)
    test(`follows from what it has: ${has}`, () => assert.deepEqual(plugin(init).can, { ...nothing, ...can }))

  test('is found on methods of a class, which are called on their object', async () => {
    class Counter {
      readonly size = 4096
      written = 0
      flushed = 0
      #data = new Uint8Array(4096)
      read(offset: number, length: number) {
        return this.#data.subarray(offset, offset + length)
      }
      write(_offset: number, data: Uint8Array) {
        this.written += data.length
      }
      flush() {
        this.flushed++
      }
      zero() {
        this.#data.fill(0)
      }
      close() {
        this.written = -1
      }
    }
    const counter = new Counter()
    const device = complete('class', 'plugin', counter, running)
    assert.deepEqual([device.can.write, device.can.zero, device.can.fua], [true, 'native', 'emulate'])
    await device.write(0, new Uint8Array(5), { fua: true })
    await device.zero(0, 1, zeroFlags)
    assert.equal((await device.read(0, 7, (n) => new Uint8Array(n))).length, 7)
    assert.deepEqual([counter.written, counter.flushed], [5, 1])
    await device.close()
    assert.equal(counter.written, -1)
  })

  const claims: [can: Partial<Capabilities>, method: string][] = [
    [{ write: true }, 'write'],
    [{ flush: true }, 'flush'],
    [{ trim: true }, 'trim'],
    [{ zero: 'native' }, 'zero'],
    [{ extents: true }, 'extents'],
    [{ cache: 'native' }, 'cache'],
    [{ fua: 'emulate' }, 'flush'],
  ]
  for (const [can, method] of claims)
    test(`cannot be claimed without a method: ${JSON.stringify(can)}`, () => {
      const message = `disk: claims that it can ${method}, but has no such method`
      assert.throws(() => plugin({ can }), new Error(message))
    })
})

describe('what a device cannot do', () => {
  test('fails with EPERM where it is a write', () => {
    assert.throws(
      () => plugin().write(0, new Uint8Array(1), noFlags),
      new NbdError('EPERM', 'the device is read-only'),
    )
  })

  for (const operation of ['trim', 'zero', 'cache'] as const)
    test(`fails with EINVAL where it is ${operation}`, () => {
      const device = plugin()
      assert.throws(() => device[operation](0, 1, zeroFlags), {
        code: 'EINVAL',
        message: `the device does not support ${operation}`,
      })
    })

  test('is said with data from end to end where it is extents', async () => {
    assert.deepEqual([...(await plugin().extents(100, 50))], [{ length: 50, type: 0 }])
    const silent = plugin({ extents: () => [{ length: 50, type: 3 }], can: { extents: false } })
    assert.deepEqual([...(await silent.extents(100, 50))], [{ length: 50, type: 0 }])
  })

  test('is no failure where it is flush or close', async () => {
    await plugin().flush()
    await plugin().close()
  })
})

describe('a device', () => {
  test('has every member, whatever its author gave', () => {
    const device = plugin()
    assert.equal(device.description, '')
    assert.equal(device.rotational, false)
    assert.deepEqual(device.blockSize, { minimum: 1, preferred: 4096, maximum: 0xffffffff })
    assert.deepEqual(device.contexts, [])
    assert.deepEqual(Object.keys(device), Object.keys(filter(plugin({ write() {}, flush() {} }))))
  })

  for (const size of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
    test(`has no size of ${size}`, () => {
      const message = `disk: a size of ${size} bytes is not an integer from 0 to 9007199254740991`
      assert.throws(() => plugin({ size }), new Error(message))
    })

  test('may have a size of 0 and of 2^53 - 1', () => {
    for (const size of [0, Number.MAX_SAFE_INTEGER]) assert.equal(plugin({ size }).size, size)
  })

  const blockSizes: [given: DeviceInit['blockSize'], message: string][] = [
    [{ minimum: 0 }, 'minimum 0 is not a power of two from 1 to 65536'],
    [{ minimum: 3 }, 'minimum 3 is not a power of two from 1 to 65536'],
    [{ minimum: 131072 }, 'minimum 131072 is not a power of two from 1 to 65536'],
    [{ minimum: 0.5 }, 'minimum 0.5 is not a power of two from 1 to 65536'],
    [{ minimum: -1 }, 'minimum -1 is not a power of two from 1 to 65536'],
    [{ minimum: Number.NaN }, 'minimum NaN is not a power of two from 1 to 65536'],
    [{ preferred: 256 }, 'preferred 256 is not a power of two from 512 to 33554432'],
    [{ preferred: 5000 }, 'preferred 5000 is not a power of two from 512 to 33554432'],
    [{ preferred: 2 ** 26 }, 'preferred 67108864 is not a power of two from 512 to 33554432'],
    [{ minimum: 4096, preferred: 512 }, 'preferred 512 is not a power of two from 4096 to 33554432'],
    [{ maximum: 2048 }, 'maximum 2048 is not from 4096 to 4294967295'],
    [{ maximum: 2 ** 32 }, 'maximum 4294967296 is not from 4096 to 4294967295'],
    [{ maximum: 5000.5 }, 'maximum 5000.5 is not from 4096 to 4294967295'],
    [{ minimum: 512, maximum: 5000 }, 'maximum 5000 is not a multiple of the minimum, 512'],
  ]
  for (const [blockSize, message] of blockSizes)
    test(`has no block size of ${JSON.stringify(blockSize)}`, () =>
      assert.throws(
        () => plugin({ ...(blockSize && { blockSize }) }),
        new Error(`disk: block size: ${message}`),
      ))

  test('fills in what a block size leaves out', () => {
    const of = (blockSize: NonNullable<DeviceInit['blockSize']>) => plugin({ blockSize }).blockSize
    assert.deepEqual(of({ minimum: 512 }), { minimum: 512, preferred: 4096, maximum: 0xffffffff })
    assert.deepEqual(of({ minimum: 65536 }), { minimum: 65536, preferred: 65536, maximum: 0xffffffff })
    assert.deepEqual(of({ preferred: 512, maximum: 512 }), { minimum: 1, preferred: 512, maximum: 512 })
  })

  test('keeps a block size advisory', () => {
    const blockSize = { minimum: 512, preferred: 4096, maximum: 65536, advisory: true }
    assert.deepEqual(plugin({ blockSize }).blockSize, blockSize)
  })

  for (const name of ['allocation', 'base:dirty', ':dirty', 'x-a:', 'x a:b', ''])
    test(`has no metadata context named "${name}"`, () => {
      const message = `disk: "${name}" cannot name a metadata context: expected namespace:name`
      assert.throws(() => plugin({ extents: () => [], contexts: [name] }), new Error(message))
    })

  test('has no metadata context without extents', () =>
    assert.throws(
      () => plugin({ contexts: ['x-a:b'] }),
      new Error('disk: claims the metadata context "x-a:b", but has no extents'),
    ))

  test('has a list of metadata contexts, each of them once', () => {
    const extents = () => [{ length: 1, type: 0 }]
    assert.deepEqual(plugin({ extents, contexts: ['x-a:c', 'x-a:b', 'x-a:c'] }).contexts, ['x-a:c', 'x-a:b'])
    assert.throws(
      () => plugin({ extents, contexts: { 'x-a:b': extents } as never }),
      /^Error: disk: contexts is no list: expected the names of the metadata contexts that extents knows$/,
    )
  })

  test('is asked for the extents of base:allocation, unless another context is named', async () => {
    const asked: string[] = []
    const { extents } = plugin({
      extents: (_offset, length, context) => {
        asked.push(context)
        return [{ length, type: 0 }]
      },
      contexts: ['x-a:b'],
    })
    await extents(0, 1)
    await extents(0, 1, 'x-a:b')
    assert.deepEqual(asked, ['base:allocation', 'x-a:b'])
  })

  test('that cannot tell holes reports data for base:allocation, and its other contexts', async () => {
    const { extents } = plugin({
      can: { extents: false },
      extents: (_offset, length) => [{ length, type: 3 }],
      contexts: ['x-a:b'],
    })
    assert.deepEqual([...(await extents(0, 1))], [{ length: 1, type: 0 }])
    assert.deepEqual([...(await extents(0, 1, 'x-a:b'))], [{ length: 1, type: 3 }])
  })
})

describe('a filter', () => {
  const full = () =>
    plugin({
      ...{ write() {}, flush() {}, trim() {}, zero() {}, cache() {} },
      ...{ extents: () => [{ length: 1, type: 0 }], contexts: ['x-a:b'] },
      can: { fua: 'native' },
    })

  test('that overrides nothing adds no call to any operation', () => {
    const inner = full()
    const outer = filter(inner)
    for (const key of ['read', 'write', 'flush', 'trim', 'zero', 'extents', 'cache', 'contexts'] as const)
      assert.equal(outer[key], inner[key], key)
  })

  test('that overrides one operation leaves the others as they are', () => {
    const inner = full()
    const outer = filter(inner, { read: (offset, length, alloc) => inner.read(offset, length, alloc) })
    assert.notEqual(outer.read, inner.read)
    for (const key of ['write', 'flush', 'trim', 'zero', 'extents', 'cache'] as const)
      assert.equal(outer[key], inner[key], key)
  })

  test('does not close the device below in its own close', async () => {
    let closed = 0
    const inner = plugin({ close: () => void closed++ })
    await filter(inner).close()
    assert.equal(closed, 0)
  })

  test('may take writing away, and with it all that writes', () => {
    const inner = full()
    const { can, write } = filter(inner, { can: { ...inner.can, write: false } })
    assert.deepEqual([can.write, can.trim, can.zero, can.fua], [false, false, 'none', 'none'])
    assert.throws(() => write(0, new Uint8Array(1), noFlags), { code: 'EPERM' })
  })

  for (const operation of ['trim', 'zero', 'cache'] as const)
    test(`may take ${operation} away`, () => {
      const inner = full()
      const none = operation === 'trim' ? { trim: false } : { [operation]: 'none' }
      const outer = filter(inner, { can: { ...inner.can, ...none } })
      assert.throws(() => outer[operation](0, 1, zeroFlags), { code: 'EINVAL' })
    })
})

describe('the window of a device', () => {
  const bytes = new Uint8Array(4096)
  const window = (offset: number, length: number) => bytes.subarray(offset, offset + length)
  const lending = (init: Partial<DeviceInit> = {}) => plugin({ write: () => {}, window, ...init })
  const lent = (device: Device) => device.window(16, 32)?.byteOffset

  test('is lent, and by a filter that lets the bytes pass', () => {
    assert.equal(lent(lending()), 16)
    assert.equal(lent(filter(lending(), { flush: () => {}, extents: () => [] })), 16)
  })

  test('is not where there is none, or no write', () => {
    assert.equal(lent(plugin({ write: () => {} })), undefined)
    assert.equal(lent(plugin({ window })), undefined)
    assert.equal(lent(lending({ can: { write: false } })), undefined)
    assert.equal(lent(filter(lending(), { can: { write: false } })), undefined)
  })

  test('is not past a filter that reads or writes on its own', () => {
    assert.equal(lent(filter(lending(), { write: () => {} })), undefined)
    assert.equal(lent(filter(lending(), { read })), undefined)
    assert.equal(lent(filter(filter(lending(), { read }))), undefined)
  })

  test('is that of a filter which has its own', () => {
    const inner = lending()
    const own = { write: () => {}, window: (at: number, length: number) => inner.window(at + 100, length) }
    assert.equal(lent(filter(inner, own)), 116)
  })
})
