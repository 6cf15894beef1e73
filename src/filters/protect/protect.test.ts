import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isPromise } from '../../api/maybe.js'
import memory from '../../plugins/memory/memory.js'
import { deviceContract, openDevice, readBytes, seeded } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import protect from './protect.js'
import { merged, overlaps, parseRule } from './ranges.js'

const no = { fua: false }
const zeroFlags = { fua: false, mayTrim: true, fast: false }

/** A disk whose bytes from 1000 to 1999 are protected, and hold zeroes from 1500 on. */
async function protectedDisk(ranges = ['1000-1999']) {
  const disk = new Disk({ device: { can: { fua: 'native', fastZero: true } } })
  disk.bytes.fill(0, 1500, 3000)
  const before = Buffer.from(disk.bytes)
  const device = await openDevice(disk.plugin, [protect({ ranges })])
  const changes = () => disk.calls.filter((call) => !call.startsWith('read'))
  return { disk, before, device, changes }
}

describe('protect', () => {
  test('passes on what touches no protected byte, without reading', async () => {
    const { disk, device } = await protectedDisk()
    assert.equal(device.write(0, Buffer.alloc(1000, 1), { fua: true }), undefined)
    await device.zero(2000, 512, { fua: true, mayTrim: true, fast: true })
    await device.trim(2000, 512, no)
    await device.cache(0, 2000)
    await device.flush()
    assert.deepEqual(disk.calls, [
      ...['write 1000 at 0 fua', 'zero 512 at 2000 fua mayTrim fast', 'trim 512 at 2000'],
      ...['cache 2000 at 0', 'flush'],
    ])
    await device.close()
  })

  test('passes on a write that leaves the protected bytes as they are', async () => {
    const { disk, before, device } = await protectedDisk()
    const data = Buffer.from(before.subarray(500, 2500))
    data.fill(1, 0, 500)
    data.fill(2, 1500)
    await device.write(500, data, { fua: true })
    assert.deepEqual(disk.calls, ['read 1000 at 1000', 'write 2000 at 500 fua'])
    assert.deepEqual(disk.bytes.subarray(500, 2500), data)
    await device.close()
  })

  test('refuses a write that changes a protected byte, and writes nothing of it', async () => {
    const { disk, before, device, changes } = await protectedDisk()
    for (const at of [1000, 1600, 1999]) {
      const data = Buffer.from(before.subarray(500, 2500))
      data.fill(1, 0, 500)
      data[at - 500] = (before[at] ?? 0) ^ 0xff
      const hex = (byte = 0) => `0x${byte.toString(16).padStart(2, '0')}`
      assert.throws(() => device.write(500, data, no), {
        code: 'EPERM',
        message:
          `protect: write 2000 at 500: protect=1000-1999: ` +
          `byte ${at} would be ${hex(data[at - 500])}, and is ${hex(before[at])}`,
      })
    }
    assert.deepEqual(changes(), [])
    assert.deepEqual(disk.bytes, before)
    await device.close()
  })

  test('lets zeroes and trims through where the protected bytes are zero, and nowhere else', async () => {
    const { device, changes } = await protectedDisk()
    await device.zero(1500, 1000, { fua: true, mayTrim: false, fast: false })
    await device.trim(1999, 500, { fua: true })
    assert.deepEqual(changes(), ['zero 1000 at 1500 fua', 'trim 500 at 1999 fua'])
    for (const [offset, length] of [
      [0, 2000],
      [999, 2],
      [1000, 1],
      [1400, 4000],
    ] as const) {
      const refused = {
        code: 'EPERM',
        message: /^protect: (zero|trim) \d+ at \d+: protect=1000-1999: byte \d+/,
      }
      await assert.rejects(async () => device.zero(offset, length, zeroFlags), refused)
      await assert.rejects(async () => device.trim(offset, length, no), refused)
    }
    assert.equal(changes().length, 2)
    await device.close()
  })

  test('names the first rule that protects the byte', async () => {
    const { device } = await protectedDisk(['1100-1200', '0-0x7ff', '~2048-'])
    for (const [at, rule] of [
      [1150, '1100-1200'],
      [1500, '0-0x7ff'],
      [2047, '0-0x7ff'],
    ] as const)
      assert.throws(() => device.write(at, Buffer.alloc(1, 0xee), no), {
        message: new RegExp(`^protect: write 1 at ${at}: protect=${rule}: `),
      })
    await device.close()
  })

  test('protects all of a long range in which a shorter one lies', async () => {
    const { device } = await protectedDisk(['0-1000', '100-200'])
    assert.throws(() => device.write(1000, Buffer.alloc(1, 0xee), no), { code: 'EPERM' })
    await device.write(1001, Buffer.alloc(1, 0xee), no)
    await device.close()
  })

  test('lets a boot sector be written back, with another partition table but no other code', async () => {
    const disk = new Disk()
    const device = await openDevice(disk.plugin, [protect({ ranges: ['0-0x1bd', '512-'] })])
    const sector = await readBytes(device, 0, 512)
    await device.write(0, sector, no)
    sector.fill(0x80, 0x1be, 510)
    await device.write(0, sector, no)
    assert.equal(disk.bytes[0x1be], 0x80)
    sector[0] = (sector[0] ?? 0) ^ 1
    assert.throws(() => device.write(0, sector, no), { code: 'EPERM' })
    await device.close()
  })

  test('passes on the error of a disk that cannot be read', async () => {
    const read = () => {
      throw Object.assign(new Error('no memory'), { code: 'ENOMEM' })
    }
    const disk = new Disk({ device: { read } })
    const device = await openDevice(disk.plugin, [protect({ ranges: ['-'] })])
    assert.throws(() => device.write(0, Buffer.alloc(1), no), { code: 'ENOMEM' })
    assert.throws(() => device.zero(0, 1, zeroFlags), { code: 'ENOMEM' })
    assert.deepEqual(disk.calls, [])
    await device.close()
  })

  test('lends the memory of the disk below, but not for protected bytes', async () => {
    const device = await openDevice(memory({ size: '1M' }), [protect({ ranges: ['0-511'] })])
    assert.equal(device.window(0, 65536), undefined)
    const view = device.window(65536, 65536)
    assert.ok(view)
    await device.write(65536, view.fill(3), no)
    device.release(view)
    assert.deepEqual(await readBytes(device, 65536, 65536), Buffer.alloc(65536, 3))
    await device.close()
  })

  test('answers at once over a disk that does', async () => {
    const { before, device } = await protectedDisk()
    assert.equal(isPromise(device.write(1000, before.subarray(1000, 1100), no)), false)
    await device.close()
  })

  for (const ranges of [[], ['~-'], ['0-', '~5-10'], ['70000-']])
    test(`starts with protect=${ranges.join(' protect=')}, and keeps the flags of the disk`, async () => {
      const disk = new Disk()
      const [device, below] = [
        await openDevice(disk.plugin, [protect({ ranges })]),
        await openDevice(disk.plugin),
      ]
      assert.deepEqual(device.can, below.can)
      await device.close()
      await below.close()
    })

  test('meets the contract of a device where nothing is protected', async () => {
    const device = await openDevice(memory({ size: 200_000 }), [protect({ ranges: ['200000-'] })])
    await deviceContract(device)
    await device.close()
  })

  test('leaves only bytes outside of its ranges to change, whatever is asked for', async () => {
    const random = seeded(2)
    const disk = new Disk({ size: 4096 })
    const before = Buffer.from(disk.bytes)
    const device = await openDevice(disk.plugin, [protect({ ranges: ['100-199', '~300-3999', '1000-1000'] })])
    for (let round = 0; round < 1000; round++) {
      const offset = random.below(4096)
      const length = 1 + random.below(Math.min(64, 4096 - offset))
      const request = random.pick([
        () => device.write(offset, Buffer.alloc(length, random.below(256)), no),
        () => device.zero(offset, length, zeroFlags),
        () => device.trim(offset, length, no),
      ])
      await Promise.resolve()
        .then(request)
        .catch((error: NodeJS.ErrnoException) => assert.equal(error.code, 'EPERM'))
    }
    for (let at = 0; at < 4096; at++)
      if (at < 300 || at >= 4000 || at === 1000) assert.equal(disk.bytes[at], before[at], `byte ${at}`)
    assert.notDeepEqual(disk.bytes, before)
    await device.close()
  })
})

describe('the ranges of protect', () => {
  const most = Number.MAX_SAFE_INTEGER
  const rules: [text: string, ranges: [start: number, end: number][]][] = [
    ['0-511', [[0, 512]]],
    ['5-5', [[5, 6]]],
    ['-0x1bd', [[0, 446]]],
    ['010-020', [[8, 17]]],
    ['512-', [[512, most]]],
    ['-', [[0, most]]],
    ['512-9223372036854775807', [[512, most]]],
    ['~-', []],
    ['~0-', []],
    ['~5-', [[0, 5]]],
    ['~-5', [[6, most]]],
    [
      '~5-9',
      [
        [0, 5],
        [10, most],
      ],
    ],
  ]
  for (const [text, ranges] of rules)
    test(`of ${text} are ${JSON.stringify(ranges)}`, () =>
      assert.deepEqual(
        parseRule(text).ranges.map(({ start, end }) => [start, end]),
        ranges,
      ))

  const shape = 'expected START-END or ~START-END, in bytes: decimal, 0x… or 0…'
  const refusals: [text: string, why: string][] = [
    ['', shape],
    ['0', shape],
    ['1k-2k', shape],
    ['x-', shape],
    ['0-1-2', shape],
    ['~~0-1', shape],
    ['0 - 1', shape],
    ['2-1', 'the end lies before the start'],
    ['~2-1', 'the end lies before the start'],
    ['0-9223372036854775808', 'a number is above the largest, 9223372036854775807'],
  ]
  for (const [text, why] of refusals)
    test(`cannot be "${text}"`, async () => {
      await assert.rejects(openDevice(new Disk().plugin, [protect({ ranges: [text] })]), {
        name: 'ConfigError',
        message: `protect: protect=${text}: ${why}`,
      })
    })

  test('are merged to the same bytes', () => {
    const random = seeded(3)
    for (let round = 0; round < 300; round++) {
      const ranges = Array.from({ length: random.below(6) }, () => {
        const start = random.below(50)
        return { start, end: start + 1 + random.below(20) }
      })
      const holds = (list: typeof ranges) => (at: number) =>
        list.some(({ start, end }) => start <= at && at < end)
      const bytes = Array.from({ length: 80 }, (_, at) => at)
      const one = merged(ranges)
      assert.deepEqual(bytes.filter(holds([...one])), bytes.filter(holds(ranges)))
      assert.ok(one.every(({ start }, index) => index === 0 || start > (one[index - 1]?.end ?? 0)))
      const asked = { start: random.below(50), end: 55 }
      const found = overlaps(one, asked.start, asked.end - asked.start)
      assert.deepEqual(
        bytes.filter(holds(found.map(({ start, end }) => ({ start, end })))),
        bytes.filter((at) => holds(ranges)(at) && holds([asked])(at)),
      )
    }
  })
})
