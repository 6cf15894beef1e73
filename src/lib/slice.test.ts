import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Device } from '../api/device.js'
import { defineFilter, definePlugin, type Layer } from '../api/plugin.js'
import memory from '../plugins/memory/memory.js'
import { deviceContract, openDevice } from '../testing/index.js'
import { type Range, slice } from './slice.js'

/** A device that records the calls of its operations. */
function recorder(calls: unknown[][]) {
  const note =
    <R>(name: string, result: (...args: never[]) => R) =>
    (...args: unknown[]) => {
      calls.push([name, ...args])
      return result(...(args as never[]))
    }
  return definePlugin({
    name: 'recorder',
    description: 'for tests',
    params: {},
    setup: () => ({
      open: () => ({
        size: 65536,
        read: note('read', (_offset: number, length: number) => new Uint8Array(length)),
        write: note('write', () => {}),
        window: note('window', (_offset: number, length: number) => new Uint8Array(length)),
        release: () => {},
        flush: note('flush', () => {}),
        trim: note('trim', () => {}),
        zero: note('zero', () => {}),
        extents: note('extents', (_offset: number, length: number) => [{ length, type: 0 }]),
        cache: note('cache', () => {}),
        contexts: ['x-test:a'],
      }),
    }),
  })()
}

/** The device behind a filter that only slices. */
function sliced(range: Range, below: Layer<'plugin'> = recorder([])): Promise<Device> {
  const filter = defineFilter({
    name: 'part',
    description: 'for tests',
    params: {},
    setup: () => ({ open: async (request, next) => slice(await next(request), range) }),
  })
  return openDevice(below, [filter()])
}

test('a slice moves every operation', async () => {
  const calls: unknown[][] = []
  const device = await sliced({ offset: 1000, size: 5000 }, recorder(calls))
  const flags = { fua: false, mayTrim: true, fast: false }
  const alloc = (length: number) => new Uint8Array(length)
  await device.read(1, 10, alloc)
  await device.write(2, new Uint8Array(10), flags)
  device.window(3, 10)
  await device.trim(4, 10, flags)
  await device.zero(5, 10, flags)
  await device.extents(6, 10, 'x-test:a')
  await device.cache(7, 10)
  await device.flush()
  assert.deepEqual(
    calls.map(([name, offset]) => [name, offset]),
    [
      ...[['read', 1001] as const, ['write', 1002] as const, ['window', 1003] as const],
      ...[['trim', 1004] as const, ['zero', 1005] as const, ['extents', 1006] as const],
      ...[['cache', 1007] as const, ['flush', undefined] as const],
    ],
  )
  assert.equal(calls[5]?.[3], 'x-test:a')
  await device.close()
})

test('a slice meets the contract of a device', async () => {
  const device = await sliced({ offset: 512, size: 4097 }, memory({ size: '64k' }))
  assert.equal(device.size, 4097)
  await deviceContract(device)
  await device.close()
})

test('a slice may be empty, or the whole device', async () => {
  for (const range of [
    { offset: 65536, size: 0 },
    { offset: 0, size: 65536 },
  ]) {
    const device = await sliced(range)
    assert.equal(device.size, range.size)
    await device.close()
  }
})

for (const range of [
  { offset: 0, size: 65537 },
  { offset: 65536, size: 1 },
  { offset: -1, size: 1 },
  { offset: 0.5, size: 1 },
  { offset: 0, size: Number.NaN },
])
  test(`a slice of ${range.size} bytes at ${range.offset} is refused where it does not lie in the device`, async () => {
    await assert.rejects(sliced(range), {
      message: `${range.size} bytes at ${range.offset} do not lie in a device of 65536 bytes`,
    })
  })
