import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Device, DeviceInit } from '../api/device.js'
import { isPromise } from '../api/maybe.js'
import { complete } from './complete.js'
import { allData, cacheByRead, zeroByWrite } from './emulate.js'
import { Running } from './running.js'

const KiB = 1024
const MiB = 1024 * KiB
const running = new Running()
const notFua = { fua: false }
const noFua = { fua: 'none', flush: false } as const
const withFua = { fua: true }
const zeroFlags = { fua: false, mayTrim: true, fast: false }

/** A device that records its calls, and answers at once or later. */
function noting(init: Partial<DeviceInit> = {}, answers: 'now' | 'later' = 'now') {
  const calls: string[] = []
  const note = (call: string) => {
    calls.push(call)
    return answers === 'now' ? undefined : Promise.resolve().then(() => void calls.push(`${call} done`))
  }
  const device: DeviceInit = {
    size: 2 ** 40,
    read: (offset, length) => {
      note(`read ${length} at ${offset}`)
      return new Uint8Array(length)
    },
    write: (offset, data, { fua }) => note(`write ${data.length} at ${offset}${fua ? ' fua' : ''}`),
    flush: () => note('flush'),
    trim: (offset, length, { fua }) => note(`trim ${length} at ${offset}${fua ? ' fua' : ''}`),
    zero: (offset, length, { fua, fast }) =>
      note(`zero ${length} at ${offset}${fua ? ' fua' : ''}${fast ? ' fast' : ''}`),
    ...init,
  }
  return { calls, device: complete('disk', 'plugin', device, running) }
}

function filter(inner: Device, init: Partial<DeviceInit>): Device {
  return complete('filter', 'filter', { ...inner, ...init }, running)
}

describe('FUA by flush', () => {
  const operations: [name: string, run: (device: Device, fua: boolean) => unknown][] = [
    ['write', (device, fua) => device.write(0, new Uint8Array(8), { fua })],
    ['trim', (device, fua) => device.trim(0, 8, { fua })],
    ['zero', (device, fua) => device.zero(0, 8, { ...zeroFlags, fua })],
  ]
  for (const [name, run] of operations) {
    test(`flushes after a ${name} that asks for it, and after no other`, async () => {
      const { calls, device } = noting()
      await run(device, true)
      await run(device, false)
      assert.deepEqual(calls, [`${name} 8 at 0`, 'flush', `${name} 8 at 0`])
    })

    test(`flushes when an asynchronous ${name} is done, and not before`, async () => {
      const { calls, device } = noting({}, 'later')
      await run(device, true)
      assert.deepEqual(calls, [`${name} 8 at 0`, `${name} 8 at 0 done`, 'flush', 'flush done'])
    })

    test(`is not done where the device knows FUA itself: ${name}`, async () => {
      const { calls, device } = noting({ can: { fua: 'native' } })
      await run(device, true)
      assert.deepEqual(calls, [`${name} 8 at 0 fua`])
    })

    test(`is done once, however many filters leave ${name} alone`, async () => {
      const { calls, device } = noting()
      await run(filter(filter(device, {}), {}), true)
      assert.deepEqual(calls, [`${name} 8 at 0`, 'flush'])
    })

    test(`is asked for by a filter that takes native FUA to emulate: ${name}`, async () => {
      const { calls, device } = noting({ can: { fua: 'native' } })
      await run(filter(device, { can: { ...device.can, fua: 'emulate' } }), true)
      assert.deepEqual(calls, [`${name} 8 at 0`, 'flush'])
    })

    test(`is not done, and FUA not passed on, where a filter takes FUA away: ${name}`, async () => {
      const { calls, device } = noting({ can: { fua: 'native' } })
      await run(filter(device, { can: { ...device.can, fua: 'none' } }), true)
      assert.deepEqual(calls, [`${name} 8 at 0`])
    })
  }

  test('does not flush after a write that failed', async () => {
    for (const write of [
      () => {
        throw new Error('no')
      },
      () => Promise.reject(new Error('no')),
    ]) {
      const { calls, device } = noting({ write })
      await assert.rejects(async () => device.write(0, new Uint8Array(8), withFua), new Error('no'))
      assert.deepEqual(calls, [])
    }
  })

  test('fails the write where the flush fails', async () => {
    const flush = () => Promise.reject(new Error('lost'))
    await assert.rejects(
      async () => noting({ flush }).device.write(0, new Uint8Array(8), withFua),
      new Error('lost'),
    )
  })

  test('stays synchronous while the device is', () => {
    const { device } = noting()
    assert.equal(isPromise(device.write(0, new Uint8Array(8), withFua)), false)
  })

  test("follows a filter's own write, which does not see the flag", async () => {
    const { calls, device } = noting()
    const outer = filter(device, {
      write: (offset, data, flags) => {
        calls.push(`filter fua=${flags.fua}`)
        return device.write(offset + 100, data, flags)
      },
    })
    await outer.write(0, new Uint8Array(8), withFua)
    assert.deepEqual(calls, ['filter fua=false', 'write 8 at 100', 'flush'])
  })

  test("uses a filter's own flush where it has one", async () => {
    const { calls, device } = noting()
    const outer = filter(device, {
      write: (offset, data, flags) => device.write(offset, data, flags),
      flush: () => void calls.push('flush of the filter'),
    })
    await outer.write(0, new Uint8Array(8), withFua)
    assert.deepEqual(calls, ['write 8 at 0', 'flush of the filter'])
  })
})

describe('zero by write', () => {
  test('writes pieces of 1 MiB, and the rest', async () => {
    const { calls, device } = noting({ can: { zero: 'emulate' } })
    await device.zero(1000, 2 * MiB + 512, zeroFlags)
    assert.deepEqual(calls, ['write 1048576 at 1000', 'write 1048576 at 1049576', 'write 512 at 2098152'])
  })

  test('writes one piece after the other where the device is asynchronous', async () => {
    const { calls, device } = noting({ can: { zero: 'emulate' } }, 'later')
    await device.zero(0, MiB + 1, zeroFlags)
    assert.deepEqual(calls, [
      'write 1048576 at 0',
      'write 1048576 at 0 done',
      'write 1 at 1048576',
      'write 1 at 1048576 done',
    ])
  })

  test('writes zeroes', async () => {
    const written: Uint8Array[] = []
    const zero = zeroByWrite(
      (_offset, data) => void written.push(data.slice()),
      () => {},
      noFua,
    )
    await zero(0, MiB + 300, zeroFlags)
    assert.ok(Buffer.concat(written).equals(Buffer.alloc(MiB + 300)))
  })

  test('gives FUA to one piece', async () => {
    const { calls, device } = noting({ can: { zero: 'emulate', fua: 'native' } })
    await device.zero(0, MiB, { ...zeroFlags, fua: true })
    assert.deepEqual(calls, ['write 1048576 at 0 fua'])
  })

  test('flushes once, at the end, where several pieces are to be durable', async () => {
    const { calls, device } = noting({ can: { zero: 'emulate', fua: 'native' } })
    await device.zero(0, 2 * MiB, { ...zeroFlags, fua: true })
    assert.deepEqual(calls, ['write 1048576 at 0', 'write 1048576 at 1048576', 'flush'])
  })

  test('gives FUA to each piece where there is no flush', async () => {
    const { calls, device } = noting({ can: { zero: 'emulate', fua: 'native', flush: false } })
    await device.zero(0, 2 * MiB, { ...zeroFlags, fua: true })
    assert.deepEqual(calls, ['write 1048576 at 0 fua', 'write 1048576 at 1048576 fua'])
  })

  test('flushes once, at the end, where FUA is emulated too', async () => {
    const { calls, device } = noting({ can: { zero: 'emulate' } })
    await device.zero(0, 2 * MiB, { ...zeroFlags, fua: true })
    assert.deepEqual(calls, ['write 1048576 at 0', 'write 1048576 at 1048576', 'flush'])
  })

  test('gives no FUA to a device that has none', async () => {
    const { calls, device } = noting({ can: { zero: 'emulate', fua: 'none' } })
    await device.zero(0, 8, { ...zeroFlags, fua: true })
    assert.deepEqual(calls, ['write 8 at 0'])
  })

  test('refuses to be fast, at once and without a write', () => {
    const { calls, device } = noting({ can: { zero: 'emulate' } })
    assert.throws(() => device.zero(0, 8, { ...zeroFlags, fast: true }), {
      code: 'ENOTSUP',
      message: 'zeroing is not faster than writing here',
    })
    assert.deepEqual(calls, [])
  })

  test('stops at the first piece that fails', async () => {
    for (const answers of ['now', 'later'] as const) {
      let writes = 0
      const write = (offset: number) => {
        writes++
        if (offset > 0 && answers === 'now') throw new Error('full')
        return offset > 0 ? Promise.reject(new Error('full')) : undefined
      }
      await assert.rejects(
        async () => zeroByWrite(write, () => {}, noFua)(0, 4 * MiB, zeroFlags),
        new Error('full'),
      )
      assert.equal(writes, 2)
    }
  })

  for (const code of ['ENOTSUP', 'EOPNOTSUPP'])
    for (const answers of ['now', 'later'] as const)
      test(`is done where a plugin cannot zero this time: ${code}, ${answers}`, async () => {
        const failure = Object.assign(new Error('not here'), { code })
        const zero = () => {
          if (answers === 'now') throw failure
          return Promise.reject(failure)
        }
        const { calls, device } = noting({ zero })
        await device.zero(0, 8, { ...zeroFlags, fua: true })
        assert.deepEqual(calls, ['write 8 at 0', 'flush'])
        await assert.rejects(async () => device.zero(0, 8, { ...zeroFlags, fast: true }), failure)
        assert.deepEqual(calls, ['write 8 at 0', 'flush'])
      })

  test('is not done where a plugin fails to zero for another reason, nor where a filter refuses', async () => {
    const fail = (code: string) => () => {
      throw Object.assign(new Error('no'), { code })
    }
    const { calls, device } = noting({ zero: fail('ENOSPC') })
    await assert.rejects(async () => device.zero(0, 8, zeroFlags), { code: 'ENOSPC' })
    const refusing = filter(noting().device, { zero: fail('ENOTSUP') })
    await assert.rejects(async () => refusing.zero(0, 8, zeroFlags), { code: 'ENOTSUP' })
    assert.deepEqual(calls, [])
  })

  test("is done by the filter's own write where it says so over a device that can zero", async () => {
    const { calls, device } = noting()
    const outer = filter(device, {
      can: { ...device.can, zero: 'emulate' },
      write: (offset, data, flags) => {
        calls.push('write of the filter')
        return device.write(offset, data, flags)
      },
    })
    await outer.zero(0, 8, zeroFlags)
    assert.deepEqual(calls, ['write of the filter', 'write 8 at 0'])
  })

  test("is done by the filter's own write over a device that emulates it already", async () => {
    const { calls, device } = noting({ can: { zero: 'emulate' } })
    const outer = filter(device, {
      write: (offset, data, flags) => {
        calls.push('write of the filter')
        return device.write(offset, data, flags)
      },
    })
    await outer.zero(0, 8, zeroFlags)
    assert.deepEqual(calls, ['write of the filter', 'write 8 at 0'])
  })

  test("gives way to a filter's own zero over a device that emulates it", async () => {
    const { calls, device } = noting({ can: { zero: 'emulate' } })
    const outer = filter(device, {
      zero: (offset, length, flags) => {
        calls.push('zero of the filter')
        return device.zero(offset + 100, length, flags)
      },
    })
    await outer.zero(0, 8, { ...zeroFlags, fua: true })
    assert.deepEqual(calls, ['zero of the filter', 'write 8 at 100', 'flush'])
  })
})

describe('cache by read', () => {
  test('reads pieces of 256 KiB into memory of its own', async () => {
    const { calls, device } = noting({ can: { cache: 'emulate' } })
    await device.cache(1, 256 * KiB + 5)
    assert.deepEqual(calls, ['read 262144 at 1', 'read 5 at 262145'])
  })

  test('gives a read memory of the length it asks for, and waits for it', async () => {
    let done = 0
    const cache = cacheByRead(async (_offset, length, alloc) => {
      const memory = alloc(length)
      assert.equal(memory.length, length)
      await Promise.resolve()
      done++
      return memory
    })
    await cache(0, 600 * KiB)
    assert.equal(done, 3)
  })

  test('gives requests in flight, and filters beside the device, memory of their own', async () => {
    const { device } = noting({
      can: { cache: 'emulate' },
      read: async (offset, length, alloc) => {
        const memory = alloc(length).fill(offset / KiB)
        await new Promise((resolve) => setImmediate(resolve))
        return memory
      },
    })
    const seen: number[] = []
    const outer = filter(device, {
      async read(offset, length, alloc) {
        const mine = alloc(length).fill(0xff)
        const data = await device.read(offset, length, alloc)
        seen.push(data[0] as number, mine[0] as number)
        return data
      },
    })
    await Promise.all([1, 2, 3].map((number) => outer.cache(number * KiB, KiB)))
    assert.deepEqual(seen, [1, 0xff, 2, 0xff, 3, 0xff])
  })

  test('lets others in between its pieces', async () => {
    let reads = 0
    const { device } = noting({
      can: { cache: 'emulate' },
      read(_offset, length) {
        reads++
        const until = performance.now() + 2
        while (performance.now() < until);
        return new Uint8Array(length)
      },
    })
    const done = device.cache(0, 4 * 256 * KiB)
    assert.ok(isPromise(done))
    await new Promise((resolve) => setImmediate(resolve))
    assert.ok(reads < 4)
    await done
    assert.equal(reads, 4)
  })

  test('fails where a read fails', async () => {
    const cache = cacheByRead(() => Promise.reject(new Error('torn')))
    await assert.rejects(async () => cache(0, 8), new Error('torn'))
  })

  test("is done by a filter's own read over a device that emulates it", async () => {
    const { calls, device } = noting({ can: { cache: 'emulate' } })
    const outer = filter(device, {
      read: (offset, length, alloc) => {
        calls.push('read of the filter')
        return device.read(offset, length, alloc)
      },
    })
    await outer.cache(0, 8)
    assert.deepEqual(calls, ['read of the filter', 'read 8 at 0'])
  })
})

test('where nothing is known, everything is data', () => {
  assert.deepEqual([...allData(100, 7)], [{ length: 7, type: 0 }])
})

test('FUA is not asked of a plugin without FUA, even if a caller does', async () => {
  const { calls, device } = noting({ can: { fua: 'none' } })
  await device.write(0, new Uint8Array(8), withFua)
  await device.write(0, new Uint8Array(8), notFua)
  assert.deepEqual(calls, ['write 8 at 0', 'write 8 at 0'])
})
