/** Filters that open several devices, or keep one, and override some functions of the device they spread. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Device, DeviceInit } from '../api/device.js'
import { silentLog } from '../api/log.js'
import type { OpenRequest } from '../api/plugin.js'
import { type Link, openChain } from './open.js'
import { Running } from './running.js'
import { noConnection } from './setup.js'

const request: OpenRequest = { exportName: '', readOnly: false, tls: false, connection: noConnection }
const zeroFlags = { fua: false, mayTrim: false, fast: false }
const alloc = (length: number) => new Uint8Array(length)

type Open = (next: () => Promise<Device>) => Promise<DeviceInit>

/** A filter over a disk. Each opened device records its calls under its own number. */
async function over(open: Open, disk: Partial<DeviceInit> = {}) {
  const calls: string[] = []
  let opened = 0
  const plugin = () => {
    const number = ++opened
    return {
      size: 4096,
      read: (_offset: number, length: number) => {
        calls.push(`read ${number}`)
        return new Uint8Array(length)
      },
      write: () => void calls.push(`write ${number}`),
      flush: () => void calls.push(`flush ${number}`),
      window: (_offset: number, length: number) => new Uint8Array(length),
      can: { cache: 'emulate' },
      close: () => void calls.push(`close ${number}`),
      ...disk,
    } as const
  }
  const links: Link[] = [
    { name: 'filter', log: silentLog, instance: { open: (_request, next) => open(() => next(request)) } },
    { name: 'disk', log: silentLog, instance: { open: plugin } },
  ]
  return { calls, device: await openChain(links, request, new Running()) }
}

const own = { write() {}, close() {} }
const spreads: [which: string, open: Open][] = [
  [
    'the first of two devices',
    async (next) => {
      const first = await next()
      await next()
      return { ...first, ...own }
    },
  ],
  [
    'the last of two devices',
    async (next) => {
      await next()
      return { ...(await next()), ...own }
    },
  ],
  [
    'a device it closed, and opened another',
    async (next) => {
      const first = await next()
      await first.close()
      await next()
      return { ...first, ...own }
    },
  ],
]

describe('a filter with a write and a close of its own, which spreads', () => {
  for (const [which, open] of spreads) {
    test(`${which}, lends no window past its write`, async () => {
      const { device } = await over(open)
      assert.equal(device.window(0, 512), undefined)
    })

    test(`${which}, meets emulated zeroes in its write`, async () => {
      const { device, calls } = await over(open)
      calls.length = 0
      await device.zero(0, 512, zeroFlags)
      assert.deepEqual(calls, [])
    })
  }

  test('a device that another connection has opened, lends no window past its write either', async () => {
    let kept: Device | undefined
    const open: Open = async (next) => {
      kept ??= await next()
      return { ...kept, ...own }
    }
    const first = await over(open)
    const second = await over(open)
    for (const { device } of [first, second]) assert.equal(device.window(0, 512), undefined)
    second.calls.length = 0
    await second.device.zero(0, 512, zeroFlags)
    assert.deepEqual([...first.calls, ...second.calls], [])
  })
})

describe('a filter that opens two devices', () => {
  test('and reads by itself, meets emulated caching in its read', async () => {
    const seen: string[] = []
    const { device } = await over(async (next) => {
      const first = await next()
      await next()
      const read: Device['read'] = (_offset, length) => {
        seen.push('read')
        return new Uint8Array(length)
      }
      return { ...first, read, close() {} }
    })
    await device.cache(0, 512)
    assert.deepEqual([seen, device.window(0, 512)], [['read'], undefined])
  })

  test('and spreads the first as it is, but for its close, costs nothing and keeps its window', async () => {
    let first: Device | undefined
    const { device } = await over(async (next) => {
      first = await next()
      await next()
      return { ...first, close() {} }
    })
    for (const key of ['read', 'write', 'zero', 'flush', 'window', 'release'] as const)
      assert.equal(device[key], first?.[key], key)
    assert.equal(device.window(0, 512)?.length, 512)
  })

  test('and reads from one and writes to the other, has no window of either', async () => {
    const { device } = await over(async (next) => {
      const [first, second] = [await next(), await next()]
      return { ...first, write: second.write }
    })
    assert.equal(device.window(0, 512), undefined)
  })

  test('and takes the window of the other, has none', async () => {
    const { device } = await over(async (next) => {
      const [first, second] = [await next(), await next()]
      return { ...first, window: second.window }
    })
    assert.equal(device.window(0, 512), undefined)
  })

  test('and zeroes by itself where the device emulates, is asked to zero', async () => {
    const seen: string[] = []
    const { device, calls } = await over(async (next) => {
      const first = await next()
      await next()
      return { ...first, ...own, zero: () => void seen.push('zero') }
    })
    await device.zero(0, 512, zeroFlags)
    assert.deepEqual([seen, calls], [['zero'], []])
  })
})

test('a filter over one that zeroes by itself keeps its zero, until it writes on its own', async () => {
  for (const writes of [false, true]) {
    const seen: string[] = []
    const disk: Link = {
      name: 'disk',
      log: silentLog,
      instance: {
        open: () => ({ size: 4096, read: (_offset: number, length: number) => alloc(length), write() {} }),
      },
    }
    const zeroing: Link = {
      name: 'zeroing',
      log: silentLog,
      instance: { open: async (of, next) => ({ ...(await next(of)), zero: () => void seen.push('zero') }) },
    }
    const outer: Link = {
      name: 'outer',
      log: silentLog,
      instance: {
        open: async (of, next) => ({
          ...(await next(of)),
          ...(writes && { write: () => void seen.push('write') }),
        }),
      },
    }
    const device = await openChain([outer, zeroing, disk], request, new Running())
    await device.zero(0, 512, zeroFlags)
    assert.deepEqual(seen, [writes ? 'write' : 'zero'])
  }
})
