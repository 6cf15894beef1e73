import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isPromise } from '../../api/maybe.js'
import { zeroes } from '../../api/zeroes.js'
import memory from '../../plugins/memory/memory.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import { applyKey } from './key.js'
import xor from './xor.js'

const no = { fua: false }
const zeroFlags = { fua: false, mayTrim: true, fast: false }

/** A disk of zeroes, so that reads show the key. */
async function keyBytes(inputs: Parameters<typeof xor>[0], offset: number, length: number): Promise<string> {
  const disk = new Disk({ size: 2 ** 20, device: { read: (_offset, bytes) => zeroes(bytes) } })
  const device = await openDevice(disk.plugin, [xor(inputs)])
  const bytes = await readBytes(device, offset, length)
  await device.close()
  return bytes.toString('hex')
}

describe('xor with an integer', () => {
  test('combines the example of its manual page', async () => {
    const disk = new Disk({ device: { read: () => Buffer.from('a0a1a2a3a4a5a6', 'hex') } })
    const device = await openDevice(disk.plugin, [xor({ key: '0x123456', length: 3 })])
    assert.equal((await readBytes(device, 0, 7)).toString('hex'), 'b295f4b190f3b4')
    await device.close()
  })

  const keys: [key: string, length: number, repeated: string][] = [
    ['0x123456', 3, '123456'],
    ['0x123456', 1, '56'],
    ['0x123456', 2, '3456'],
    ['0x123456', 5, '0000123456'],
    ['0xDEADBEEF', 2, 'beef'],
    ['0X0102030405060708', 8, '0102030405060708'],
    ['0x0102030405060708', 7, '02030405060708'],
    ['18446744073709551615', 8, 'ffffffffffffffff'],
    ['010', 1, '08'],
    ['0', 4, '00000000'],
  ]
  for (const [key, length, repeated] of keys)
    test(`xor=${key} xorlen=${length} repeats ${repeated} from the start of the disk`, async () => {
      const whole = repeated.repeat(45_000 / length)
      for (let offset = 0; offset < 2 * length; offset++)
        for (const bytes of [1, 33, 40_001]) {
          const expected = whole.slice(2 * offset, 2 * (offset + bytes))
          assert.ok((await keyBytes({ key, length }, offset, bytes)) === expected, `${bytes} at ${offset}`)
        }
    })
})

describe('xor with pseudo-random bytes', () => {
  test('has the same bytes for a range, in whatever pieces it is read', async () => {
    const whole = await keyBytes({ key: 'rand:7' }, 0, 100_000)
    for (const [offset, length] of [
      [0, 1],
      [3, 17],
      [8, 8],
      [16_383, 3],
      [16_379, 40_000],
    ] as const)
      assert.ok(
        (await keyBytes({ key: 'rand:7' }, offset, length)) ===
          whole.slice(2 * offset, 2 * (offset + length)),
        `${length} at ${offset}`,
      )
  })

  test('has other bytes in each window of 8 bytes, and for each seed', async () => {
    const windows = new Set<string>()
    const seeds = ['rand', 'rand:1', 'rand:0x100000000', 'rand:18446744073709551615']
    for (const key of seeds)
      for (const [window] of (await keyBytes({ key }, 0, 8000)).matchAll(/.{16}/g)) windows.add(window)
    assert.equal(windows.size, seeds.length * 1000)
    assert.equal(await keyBytes({ key: 'rand' }, 0, 64), await keyBytes({ key: 'rand:0' }, 0, 64))
  })

  test('has other bytes beyond 32 GiB', async () => {
    const disk = new Disk({ device: { size: 2 ** 40, read: (_offset, bytes) => zeroes(bytes) } })
    const device = await openDevice(disk.plugin, [xor({ key: 'rand' })])
    const there = await readBytes(device, 2 ** 35, 64)
    assert.notDeepEqual(there, await readBytes(device, 0, 64))
    assert.deepEqual(there.subarray(8), await readBytes(device, 2 ** 35 + 8, 56))
    await device.close()
  })
})

const filters = [
  ...[1, 2, 3, 5, 7, 8].map((length) => ({ key: '0x0102030405060708', length })),
  { key: 'rand:3' },
]
for (const inputs of filters) {
  const name = `xor=${inputs.key}${'length' in inputs ? ` xorlen=${inputs.length}` : ''}`
  test(`${name} meets the contract of a device`, async () => {
    const device = await openDevice(memory({ size: 200_003 }), [xor(inputs)])
    await deviceContract(device)
    await device.close()
  })

  test(`${name} twice is the disk itself`, async () => {
    const disk = new Disk({ size: 300_000 })
    const device = await openDevice(disk.plugin, [xor(inputs), xor(inputs)])
    assert.deepEqual(await readBytes(device, 1, 299_999), disk.bytes.subarray(1))
    const data = Buffer.from(disk.bytes.subarray(0, 200_000))
    await device.write(5, data, no)
    assert.deepEqual(disk.bytes.subarray(5, 200_005), data)
    await device.close()
  })

  test(`${name} leaves the bytes alone that it is lent`, async () => {
    const disk = new Disk()
    const before = Buffer.from(disk.bytes)
    const device = await openDevice(disk.plugin, [xor(inputs)])
    await readBytes(device, 0, 65536)
    assert.deepEqual(disk.bytes, before)
    const data = Buffer.alloc(4096, 1)
    await device.write(3, data, no)
    assert.deepEqual(data, Buffer.alloc(4096, 1))
    assert.equal(device.window(0, 65536), undefined)
    await device.close()
  })
}

test('xor reads as zeroes what was zeroed or trimmed, and puts the key on the disk', async () => {
  const disk = new Disk({ size: 300_000 })
  const device = await openDevice(disk.plugin, [xor({ key: '0x0102', length: 2 })])
  await device.trim(1, 99_999, { fua: false })
  await device.zero(100_000, 99_999, zeroFlags)
  assert.deepEqual(await readBytes(device, 1, 199_998), Buffer.alloc(199_998))
  assert.equal(disk.bytes.subarray(1, 5).toString('hex'), '02010201')
  assert.equal(disk.bytes.subarray(199_996, 199_999).toString('hex'), '010201')
  assert.deepEqual(disk.calls.slice(0, 2), ['write 65536 at 1', 'write 34463 at 65537'])
  await device.close()
})

test('xor passes FUA on, and makes a trim durable where a flush has to do it', async () => {
  for (const [fua, expected] of [
    ['native', ['write 512 at 0 fua', 'write 512 at 512 fua']],
    ['emulate', ['write 512 at 0', 'flush', 'write 512 at 512', 'flush']],
  ] as const) {
    const disk = new Disk({ device: { can: { fua } } })
    const device = await openDevice(disk.plugin, [xor({ key: '1', length: 1 })])
    await device.write(0, Buffer.alloc(512), { fua: true })
    await device.trim(512, 512, { fua: true })
    assert.deepEqual(disk.calls, expected)
    await device.close()
  }
})

test('xor reports no holes, and refuses a fast zero at once', async () => {
  const disk = new Disk({ device: { extents: (_offset, length) => [{ length, type: 3 }] } })
  const device = await openDevice(disk.plugin, [xor({ key: '1', length: 1 })])
  assert.deepEqual([...(await device.extents(0, 512))], [{ length: 512, type: 0 }])
  assert.throws(() => device.zero(0, 512, { ...zeroFlags, fast: true }), { code: 'ENOTSUP' })
  assert.deepEqual(disk.calls, [])
  await device.close()
})

test('xor answers a short read at once where the disk does', async () => {
  const device = await openDevice(new Disk().plugin, [xor({ key: 'rand' })])
  assert.equal(isPromise(device.read(0, 4096, (length) => new Uint8Array(length))), false)
  await device.close()
})

test('a key is applied to memory at any address', () => {
  const bytes = Buffer.from(Array.from({ length: 64 }, (_, index) => index * 7))
  for (let start = 0; start < 8; start++)
    for (let keyStart = 0; keyStart < 8; keyStart++)
      for (const length of [0, 1, 3, 4, 7, 8, 33]) {
        const target = new Uint8Array(64).fill(0x55)
        const key = new Uint8Array(bytes).subarray(keyStart, keyStart + length)
        applyKey(target.subarray(start, start + length), key)
        const expected = new Uint8Array(64).fill(0x55)
        for (let at = 0; at < length; at++) expected[start + at] = 0x55 ^ (key[at] ?? 0)
        assert.deepEqual(target, expected, `${length} bytes, ${start} and ${keyStart}`)
      }
})

const integer = 'expected an integer such as 0x123456, or rand, or rand:SEED'
const refusals: [inputs: Parameters<typeof xor>[0], message: string][] = [
  [{ key: 'x', length: 1 }, `xor: xor=x: ${integer}`],
  [{ key: '-1', length: 1 }, `xor: xor=-1: ${integer}`],
  [{ key: '', length: 1 }, `xor: xor=: ${integer}`],
  [{ key: '08', length: 1 }, `xor: xor=08: ${integer}`],
  [{ key: 'rand:x' }, `xor: xor=rand:x: ${integer}`],
  [{ key: 'random', length: 1 }, `xor: xor=random: ${integer}`],
  [
    { key: '0x10000000000000000', length: 8 },
    'xor: xor=0x10000000000000000: expected an integer of 64 bits at most',
  ],
  [{ key: '1' }, 'xor: xorlen=N is required: the number of bytes, 1 to 8'],
  [{ key: '1', length: 9 }, 'xor: xorlen: 9 is out of range: expected an integer from 1 to 8'],
  [{ key: 'rand', length: 8 }, 'xor: xorlen=8: leave it out with xor=rand, whose bytes do not repeat'],
]
for (const [inputs, message] of refusals)
  test(`xor refuses ${JSON.stringify(inputs)}`, async () => {
    await assert.rejects(openDevice(new Disk().plugin, [xor(inputs)]), { name: 'ConfigError', message })
  })
