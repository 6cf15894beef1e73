import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Extent, HOLE, ZERO } from '../../api/device.js'
import { isPromise } from '../../api/maybe.js'
import memory from '../../plugins/memory/memory.js'
import { deviceContract, openDevice, readBytes, seeded } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import map from './map.js'
import { parseRule, piecesOf, tableOf } from './rules.js'

const no = { fua: false }
const swapSectors = ['0-511:512', '512-1023:0']

describe('map', () => {
  test('without rules is the disk itself', async () => {
    const disk = new Disk()
    const device = await openDevice(disk.plugin, [map()])
    assert.equal(device.size, 65536)
    assert.deepEqual(await readBytes(device, 0, 65536), disk.bytes)
    assert.deepEqual(disk.calls, ['read 65536 at 0'])
    await device.close()
  })

  test('swaps two sectors', async () => {
    const disk = new Disk()
    const [first, second] = [disk.bytes.subarray(0, 512), disk.bytes.subarray(512, 1024)]
    const expected = Buffer.concat([second, first, disk.bytes.subarray(1024)])
    const device = await openDevice(disk.plugin, [map({ rules: swapSectors })])
    assert.deepEqual(await readBytes(device, 0, 65536), expected)
    assert.deepEqual(disk.calls, ['read 512 at 512', 'read 512 at 0', 'read 64512 at 1024'])
    await device.close()
  })

  test('splits every kind of request, and passes its flags with each piece', async () => {
    const disk = new Disk({ device: { can: { fua: 'native', fastZero: true } } })
    const device = await openDevice(disk.plugin, [map({ rules: ['1000-1999:5000'] })])
    await device.write(500, Buffer.alloc(2000, 1), { fua: true })
    await device.trim(1500, 1000, { fua: true })
    await device.zero(1999, 2, { fua: true, mayTrim: true, fast: true })
    await device.cache(0, 1001)
    assert.deepEqual(disk.calls, [
      ...['write 500 at 500 fua', 'write 1000 at 5000 fua', 'write 500 at 2000 fua'],
      ...['trim 500 at 5500 fua', 'trim 500 at 2000 fua'],
      ...['zero 1 at 5999 fua mayTrim fast', 'zero 1 at 2000 fua mayTrim fast'],
      ...['cache 1000 at 0', 'cache 1 at 5000'],
    ])
    await device.close()
  })

  test('shows the same bytes twice where two rules lead to them', async () => {
    const disk = new Disk()
    const device = await openDevice(disk.plugin, [map({ rules: ['0-9:100', '20-29:100'] })])
    await device.write(0, Buffer.from('0123456789'), no)
    assert.equal((await readBytes(device, 20, 10)).toString(), '0123456789')
    assert.equal((await readBytes(device, 100, 10)).toString(), '0123456789')
    await device.close()
  })

  for (const [size, expected] of [
    [undefined, 65536],
    ['100', 100],
    ['5G', 5 * 2 ** 30],
  ] as const)
    test(`has ${expected} bytes with map-size=${size}`, async () => {
      const device = await openDevice(new Disk().plugin, [map(size === undefined ? {} : { size })])
      assert.equal(device.size, expected)
      await device.close()
    })

  test('maps bytes beyond 4 GiB, and rules that end at the largest offset of nbdkit', async () => {
    const disk = new Disk()
    const rules = [`${5 * 2 ** 30 - 512}-9223372036854775807:1024`]
    const device = await openDevice(disk.plugin, [map({ rules, size: 5 * 2 ** 30 })])
    await readBytes(device, 5 * 2 ** 30 - 512, 512)
    assert.deepEqual(disk.calls, ['read 512 at 1024'])
    await device.close()
  })

  test('fails with EIO where it leads beyond the end, before anything is changed', async () => {
    const disk = new Disk()
    const device = await openDevice(disk.plugin, [map({ rules: ['512-1023:65280'], size: '128k' })])
    const beyond = {
      code: 'EIO',
      message:
        'map: write 1024 at 0: map=512-1023:65280 leads to 512 bytes at 65280, and the disk below ends at 65536',
    }
    await assert.rejects(async () => device.write(0, Buffer.alloc(1024), no), beyond)
    const text = 'no rule leads elsewhere than to 1024 bytes at 65024, and the disk below ends at 65536'
    for (const [what, request] of [
      ['read', () => readBytes(device, 65024, 1024)],
      ['trim', () => device.trim(65024, 1024, no)],
      ['zero', () => device.zero(65024, 1024, { fua: false, mayTrim: false, fast: false })],
      ['cache', () => device.cache(65024, 1024)],
    ] as const)
      await assert.rejects(async () => request(), {
        code: 'EIO',
        message: `map: ${what} 1024 at 65024: ${text}`,
      })
    assert.deepEqual(disk.calls, [])
    await readBytes(device, 512, 256)
    await device.write(65535, Buffer.alloc(1), no)
    assert.deepEqual(disk.calls, ['read 256 at 65280', 'write 1 at 65535'])
    await device.close()
  })

  test('lends the memory of the disk below where a write goes to one place', async () => {
    const device = await openDevice(memory({ size: '1M' }), [map({ rules: ['0-131071:262144'] })])
    assert.equal(device.window(65536, 131072), undefined)
    const view = device.window(65536, 65536)
    assert.ok(view)
    view.fill(3)
    await device.write(65536, view, no)
    device.release(view)
    assert.deepEqual(await readBytes(device, 327_680, 65536), Buffer.alloc(65536, 3))
    await device.close()
  })

  test('answers at once over a disk that does', async () => {
    const device = await openDevice(new Disk().plugin, [map({ rules: swapSectors })])
    const alloc = (length: number) => new Uint8Array(length)
    for (const length of [512, 2048]) assert.equal(isPromise(device.read(0, length, alloc)), false)
    await device.close()
  })

  test('refuses a rule that splits a block of the disk below', async () => {
    const blockSize = { minimum: 512, preferred: 4096, maximum: 65536 }
    const disk = new Disk({ device: { blockSize } })
    const whole = await openDevice(disk.plugin, [map({ rules: ['0-511:512', '1024-9223372036854775807:0'] })])
    await whole.close()
    for (const rule of ['0-510:512', '1-511:512', '0-511:1'])
      await assert.rejects(openDevice(disk.plugin, [map({ rules: [rule] })]), {
        message: `map: map=${rule} splits a block of the disk below, which has 512 bytes`,
      })
  })

  // Each byte is shown once: a byte that is shown twice changes in two places.
  const rulesBySize: [size: number, rules: string[]][] = [
    [262_144, swapSectors],
    [262_144, ['65536-131071:131072', '131072-196607:65536']],
    [150_000, ['0-999:150000', '7777-7777:151000', '100001-149999:200000']],
  ]
  for (const [size, rules] of rulesBySize)
    test(`${rules.join(' ')} meets the contract of a device`, async () => {
      const device = await openDevice(memory({ size: 262_144 }), [map({ rules, size })])
      await deviceContract(device)
      await device.close()
    })
})

describe('the extents of map', () => {
  const types = [0, HOLE | ZERO, HOLE, ZERO]
  /** 512 bytes of each type in turn, one answer for each `most` bytes. */
  const disk = (most = 65536) =>
    new Disk({
      device: {
        extents: function* (offset, length): Iterable<Extent> {
          const end = offset + Math.min(length, most)
          for (let at = offset; at < end; ) {
            const stop = Math.min(end, at - (at % 512) + 512)
            yield { length: stop - at, type: types[Math.floor(at / 512) % 4] ?? 0 }
            at = stop
          }
        },
      },
    })

  test('are those of the places that the rules lead to', async () => {
    const device = await openDevice(disk().plugin, [map({ rules: swapSectors })])
    assert.deepEqual(
      [...(await device.extents(0, 1536))],
      [
        { length: 512, type: HOLE | ZERO },
        { length: 512, type: 0 },
        { length: 512, type: HOLE },
      ],
    )
    await device.close()
  })

  test('end where the disk below tells less than it is asked for, without a gap', async () => {
    const device = await openDevice(disk(100).plugin, [map({ rules: ['50-149:512'] })])
    assert.deepEqual(
      [...(await device.extents(0, 1000))],
      [
        { length: 50, type: 0 },
        { length: 100, type: HOLE | ZERO },
        { length: 100, type: 0 },
      ],
    )
    await device.close()
  })

  test('do not go beyond a piece, although the disk below tells of more', async () => {
    const generous = new Disk({ device: { extents: (_offset) => [{ length: 65536, type: ZERO }] } })
    const device = await openDevice(generous.plugin, [map({ rules: ['0-99:512'] })])
    assert.deepEqual(
      [...(await device.extents(0, 300))],
      [
        { length: 100, type: ZERO },
        { length: 200, type: ZERO },
      ],
    )
    await device.close()
  })

  test('end before what leads beyond the end, and fail with EIO there', async () => {
    const device = await openDevice(disk().plugin, [map({ rules: ['512-1023:65536', '2048-4095:65024'] })])
    assert.deepEqual([...(await device.extents(0, 1024))], [{ length: 512, type: 0 }])
    assert.deepEqual([...(await device.extents(2048, 2048))], [{ length: 512, type: ZERO }])
    await assert.rejects(async () => device.extents(600, 100), {
      code: 'EIO',
      message:
        'map: extents 100 at 600: map=512-1023:65536 leads to 100 bytes at 65624, and the disk below ends at 65536',
    })
    await device.close()
  })
})

describe('the rules of map', () => {
  test('count in the order given, byte by byte', () => {
    const random = seeded(1)
    for (let round = 0; round < 300; round++) {
      const texts = Array.from({ length: random.below(7) }, () => {
        const start = random.below(60)
        return `${start}-${start + random.below(30)}:${random.below(100)}`
      })
      const rules = texts.map(parseRule)
      const expected = Array.from({ length: 100 }, (_, at) => {
        const rule = rules.find(({ start, end }) => start <= at && at < end)
        return rule ? rule.destination + at - rule.start : at
      })
      const table = tableOf(rules)
      for (let at = 0; at < 100; at += 1 + random.below(20)) {
        const length = 1 + random.below(100 - at)
        const found = [...piecesOf(table, at, length)].flatMap(({ offset, length: bytes }) =>
          Array.from({ length: bytes }, (_, index) => offset + index),
        )
        assert.deepEqual(found, expected.slice(at, at + length), `${texts.join(' ')}: ${length} at ${at}`)
      }
    }
  })

  const shape = 'expected START-END:DEST, three decimal numbers of bytes'
  const refusals: [text: string, why: string][] = [
    ['', shape],
    ['0-511', shape],
    ['0x10-0x20:0', shape],
    ['0-511:1k', shape],
    ['-511:0', shape],
    ['0-:0', shape],
    [' 0-511:0', shape],
    ['512-511:0', 'the end lies before the start'],
    ['9223372036854775807-9223372036854775806:0', 'the end lies before the start'],
    ['0-9223372036854775808:0', 'a number is above the largest, 9223372036854775807'],
  ]
  for (const [text, why] of refusals)
    test(`refuse "${text}"`, async () => {
      await assert.rejects(openDevice(new Disk().plugin, [map({ rules: [text] })]), {
        name: 'ConfigError',
        message: `map: map=${text}: ${why}`,
      })
    })

  test('may be a single byte', () => {
    assert.deepEqual(
      [...piecesOf(tableOf([parseRule('5-5:0')]), 4, 3)].map(({ offset }) => offset),
      [4, 0, 6],
    )
  })
})
