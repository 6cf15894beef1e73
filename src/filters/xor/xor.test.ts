import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HOLE, ZERO } from '../../api/device.js'
import memory from '../../plugins/memory/memory.js'
import nothing from '../../plugins/null/null.js'
import { everySplit } from '../../testing/every-split.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import xor from './xor.js'

const fua = { fua: false }

test('xor combines the number, repeated from the begin of the disk, with what is read', async () => {
  const device = await openDevice(nothing({ size: '1M' }), [xor({ xor: '0x123456', length: 3 })])
  assert.equal((await readBytes(device, 0, 7)).toString('hex'), '12345612345612')
  assert.equal((await readBytes(device, 5, 4)).toString('hex'), '56123456')
  await device.close()
})

for (const [text, length, expected] of [
  ['0xDEADBEEF', 2, 'beefbeef'],
  ['255', 4, '000000ff'],
  ['0377', 1, 'ffffffff'],
  ['0', 8, '00000000'],
] as const)
  test(`xor=${text} xorlen=${length} repeats the last bytes of the number`, async () => {
    const device = await openDevice(nothing({ size: 512 }), [xor({ xor: text, length })])
    assert.equal((await readBytes(device, 0, 4)).toString('hex'), expected)
    await device.close()
  })

for (const values of [
  { xor: '0x1', length: 1 },
  { xor: '0xa1b2c3d4e5', length: 5 },
  { xor: '0x0102030405060708', length: 8 },
  { xor: 'rand' },
  { xor: 'rand:42' },
]) {
  const name = Object.values(values).join(', ')
  test(`xor meets the contract of a device: ${name}`, async () => {
    const device = await openDevice(memory({ size: 300_001 }), [xor(values)])
    await device.write(0, await readBytes(device, 0, device.size), fua)
    await deviceContract(device)
    await device.close()
  })

  test(`xor twice is the disk itself: ${name}`, async () => {
    const device = await openDevice(memory({ size: '1M' }), [xor(values), xor(values)])
    await device.write(70_000, Buffer.from('plain'), fua)
    assert.equal((await readBytes(device, 70_000, 5)).toString(), 'plain')
    await device.close()
  })

  test(`xor has the same pattern for every way to read: ${name}`, async () => {
    const device = await openDevice(nothing({ size: 64 }), [xor(values)])
    const whole = await readBytes(device, 0, 33)
    for (const pieces of everySplit(whole)) {
      let at = 0
      for (const piece of pieces) {
        assert.deepEqual(await readBytes(device, at, piece.length), Buffer.from(piece))
        at += piece.length
      }
    }
    await device.close()
  })
}

test('xor=rand has other bytes for another seed, and at another place', async () => {
  const bytes = async (text: string) => {
    const device = await openDevice(nothing({ size: '1M' }), [xor({ xor: text })])
    const found = await readBytes(device, 0, 4096)
    await device.close()
    return found
  }
  const [one, two] = [await bytes('rand:1'), await bytes('rand:2')]
  assert.notDeepEqual(one, two)
  const windows = Array.from({ length: 512 }, (_, index) => one.toString('hex', 8 * index, 8 * index + 8))
  assert.equal(new Set(windows).size, 512)
})

test('xor writes zeroes and trims as data, tells of no holes, and is slow at it', async () => {
  const device = await openDevice(memory({ size: '1M' }), [xor({ xor: '0xff', length: 1 })])
  await device.zero(0, 200_000, { fua: false, mayTrim: true, fast: false })
  await device.trim(200_000, 100, fua)
  assert.ok((await readBytes(device, 0, 200_100)).every((byte) => byte === 0))
  assert.equal((await readBytes(device, 300_000, 1))[0], 0xff)
  assert.ok([...(await device.extents(0, 2 ** 20))].every(({ type }) => (type & (HOLE | ZERO)) === 0))
  assert.throws(() => device.zero(0, 1, { fua: false, mayTrim: true, fast: true }), { code: 'ENOTSUP' })
  assert.equal(device.window(0, 65536), undefined)
  await device.close()
})

for (const [values, message] of [
  [{ xor: '5' }, 'xor: xor=5 needs xorlen: how many bytes of the number repeat, 1 to 8'],
  [{ xor: 'rand', length: 8 }, 'xor: xorlen is for a number: with xor=rand, leave it out'],
  [{ xor: 'key', length: 8 }, /^xor: xor=key: expected a number from 0 to 2\^64 - 1, rand, or rand:SEED$/],
  [{ xor: '0x10000000000000000', length: 8 }, /^xor: xor=0x10+: expected a number/],
  [{ xor: 'rand:-1' }, /^xor: xor=rand:-1: expected a number/],
] as const)
  test(`xor refuses ${JSON.stringify(values)}`, () =>
    assert.rejects(openDevice(nothing({ size: 512 }), [xor(values)]), { name: 'ConfigError', message }))
