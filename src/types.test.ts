/**
 * Tests what the types of definitions promise to authors. The compiler is the test: `holds` takes what its
 * type argument says, so a broken promise does not compile. Where a promise is visible at run time, it is
 * also checked there.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Alloc,
  andThen,
  type ConnectionState,
  type Device,
  type DeviceInit,
  defineFilter,
  definePlugin,
  type Layer,
  type MaybePromise,
  type NbdErrorCode,
  type OpenRequest,
  type PluginDefinition,
  param,
  type WriteFlags,
  type ZeroFlags,
} from './index.js'
import { openDevice } from './testing/index.js'

/** Whether two types are the same: neither is wider or narrower, and neither is `any`. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Whether an A may be given where a B is expected. */
type Fits<A, B> = [A] extends [B] ? true : false

function holds<Promised extends boolean>(_promised: Promised): void {}

const read = (_offset: number, length: number) => new Uint8Array(length)

/** The values that setup received. */
let given: Readonly<Record<string, unknown>> = {}
const disk = definePlugin({
  name: 'disk',
  description: 'for tests',
  params: {
    size: param.size({ required: true, magic: true, doc: '' }),
    image: param.path({ doc: '' }),
    wait: param.delay({ default: 0, doc: '' }),
    share: param.probability({ default: 0.5, doc: '' }),
    sparse: param.boolean({ default: false, doc: '' }),
    label: param.string({ default: '', doc: '' }),
    secret: param.password({ doc: '' }),
    level: param.int({ min: 1, max: 9, doc: '' }),
    mode: param.oneOf(['fast', 'safe'], { default: 'safe', doc: '' }),
    order: param.oneOf(['up', 'down'], { required: true, doc: '' }),
    hint: param.oneOf(['hot', 'cold'], { doc: '' }),
  },
  setup(values) {
    given = values
    holds<Same<typeof values.size, number>>(true)
    holds<Same<typeof values.image, string | undefined>>(true)
    holds<Same<typeof values.wait, number>>(true)
    holds<Same<typeof values.share, number>>(true)
    holds<Same<typeof values.sparse, boolean>>(true)
    holds<Same<typeof values.label, string>>(true)
    holds<Same<typeof values.secret, string | undefined>>(true)
    holds<Same<typeof values.level, number | undefined>>(true)
    holds<Same<typeof values.mode, 'fast' | 'safe'>>(true)
    holds<Same<typeof values.order, 'up' | 'down'>>(true)
    holds<Same<typeof values.hint, 'hot' | 'cold' | undefined>>(true)
    return { open: () => ({ size: values.size, read }) }
  },
})
type Given = Parameters<typeof disk>
type DiskInputs = NonNullable<Given[0]>

test('setup is given each value with the type that its parameter says', async () => {
  await openDevice(disk({ size: '4k', order: 'up', level: '3' }))
  assert.deepEqual(given, {
    size: 4096,
    image: undefined,
    wait: 0,
    share: 0.5,
    sparse: false,
    label: '',
    secret: undefined,
    level: 3,
    mode: 'safe',
    order: 'up',
    hint: undefined,
  })
})

test('a caller must give what is required, and may leave out the rest', () => {
  holds<Fits<[{ size: number; order: 'up' }], Given>>(true)
  holds<Fits<[{ size: number }], Given>>(false)
  holds<Fits<[{ order: 'up' }], Given>>(false)
  holds<Fits<[], Given>>(false)
  holds<Fits<undefined, DiskInputs['wait']>>(true)
  holds<Fits<undefined, DiskInputs['size']>>(false)
})

test('a caller gives a value of the right type, or its text', () => {
  holds<Same<DiskInputs['size'], number | string>>(true)
  holds<Same<DiskInputs['sparse'], boolean | string | undefined>>(true)
  holds<Fits<boolean, DiskInputs['size']>>(false)
  holds<Fits<number, DiskInputs['mode']>>(false)
})

test('a plugin that needs nothing is called without values', () => {
  const optional = { size: param.size({ default: 0, doc: '' }) }
  const plugin = definePlugin({
    name: 'optional',
    description: 'for tests',
    params: optional,
    setup: ({ size }) => ({ open: () => ({ size, read }) }),
  })
  holds<Fits<[], Parameters<typeof plugin>>>(true)
  assert.deepEqual(plugin().inputs, {})
})

test('a plugin is no filter, and a filter no plugin', () => {
  const filter = defineFilter({ name: 'same', description: 'for tests', params: {}, setup: () => ({}) })
  holds<Same<ReturnType<typeof disk>, Layer<'plugin'>>>(true)
  holds<Same<ReturnType<typeof filter>, Layer<'filter'>>>(true)
  holds<Fits<ReturnType<typeof disk>, Layer<'filter'>>>(false)
  holds<Fits<ReturnType<typeof filter>, Layer<'plugin'>>>(false)
  assert.deepEqual([disk.kind, filter.kind], ['plugin', 'filter'])
})

test('the callbacks of a device need no types of their own', async () => {
  const plugin = definePlugin({
    name: 'typed',
    description: 'for tests',
    params: {},
    setup: (_values, server) => ({
      accept: (connection) => holds<Same<typeof connection.state, ConnectionState>>(true),
      async open(request) {
        holds<Same<typeof request, OpenRequest>>(true)
        holds<Same<typeof server.readOnly, boolean>>(true)
        return {
          size: 1024,
          can: { zero: 'emulate', fua: 'none' },
          read(offset, length, alloc) {
            holds<Same<typeof offset, number>>(true)
            holds<Same<typeof alloc, Alloc>>(true)
            return alloc(length)
          },
          write(_offset, data, flags) {
            holds<Same<typeof data, Uint8Array>>(true)
            holds<Same<typeof flags, WriteFlags>>(true)
          },
          zero: (_offset, _length, flags) => holds<Same<typeof flags, ZeroFlags>>(true),
          extents(_offset, length, context) {
            holds<Same<typeof context, string>>(true)
            return [{ length, type: 0 }]
          },
          contexts: ['x-test:runs'],
        }
      },
    }),
  })
  const filter = defineFilter({
    name: 'typed',
    description: 'for tests',
    params: {},
    setup: () => ({
      async open(request, next) {
        const device = await next(request)
        holds<Same<typeof device, Device>>(true)
        return { ...device, read: (offset, length, alloc) => device.read(offset, length, alloc) }
      },
    }),
  })
  const device = await openDevice(plugin(), [filter()])
  assert.equal(device.can.zero, 'emulate')
  await device.close()
})

test('a device needs a size and a read, and nothing else', () => {
  holds<Fits<{ size: number; read: Device['read'] }, DeviceInit>>(true)
  holds<Fits<{ size: number }, DeviceInit>>(false)
  holds<Fits<{ read: Device['read'] }, DeviceInit>>(false)
  holds<Fits<{ size: bigint; read: Device['read'] }, DeviceInit>>(false)
  holds<Fits<Device, DeviceInit>>(true)
  holds<Fits<DeviceInit, Device>>(false)
})

test('a client is told of the errors that NBD has, and of no others', () => {
  holds<Fits<'ENOSPC', NbdErrorCode>>(true)
  holds<Fits<'ENOENT', NbdErrorCode>>(false)
})

test('andThen knows the type of what it goes on to', () => {
  const length = andThen(read(0, 3), (bytes) => bytes.length)
  holds<Same<typeof length, MaybePromise<number>>>(true)
  assert.equal(length, 3)
})

test('any plugin is a PluginDefinition to those who take them all', () => {
  const any: PluginDefinition = disk({ size: 0, order: 'up' }).definition
  assert.equal(any.name, 'disk')
})

test('a member that nothing reads is an error of the compiler, and of the program', async () => {
  const definition = { name: 'typed', description: 'for tests', params: {} }
  const read = (_offset: number, length: number) => new Uint8Array(length)
  const misspelt = { size: 1, read, wirte() {} }
  const setups = [
    // @ts-expect-error the device has a misspelt write
    definePlugin({ ...definition, setup: () => ({ open: () => misspelt }) }),
    // @ts-expect-error the same, of a promise
    definePlugin({ ...definition, setup: async () => ({ open: async () => misspelt }) }),
    // @ts-expect-error a misspelt ready
    definePlugin({ ...definition, setup: () => ({ raedy() {}, open: () => ({ size: 1, read }) }) }),
  ]
  for (const plugin of setups)
    await assert.rejects(openDevice(plugin()), /"(wirte|raedy)" is unknown: did you mean "(write|ready)"\?$/)
  // @ts-expect-error a misspelt setup of a filter
  assert.throws(() => defineFilter({ ...definition, setup: () => ({}), concurency: 'parallel' }), {
    message: 'typed: defineFilter: "concurency" is unknown: did you mean "concurrency"?',
  })
})
