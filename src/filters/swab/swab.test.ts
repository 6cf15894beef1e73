import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DeviceInit, HOLE, ZERO } from '../../api/device.js'
import { definePlugin } from '../../api/plugin.js'
import { isZeroes, zeroes } from '../../api/zeroes.js'
import memory from '../../plugins/memory/memory.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import swab from './swab.js'

const alloc = (length: number) => new Uint8Array(length)
const text = 'abcdefghijklmnop'

/** A disk that holds the text, and data written to it. */
function disk(init: Partial<DeviceInit> = {}, bytes = Buffer.from(text)) {
  const read = (offset: number, length: number) => bytes.subarray(offset, offset + length)
  return definePlugin({
    name: 'disk',
    description: 'for tests',
    params: {},
    setup: () => ({
      open: () => ({
        size: bytes.length,
        read,
        write: (offset: number, data: Uint8Array) => bytes.set(data, offset),
        ...init,
      }),
    }),
  })()
}

const words: Readonly<Record<number, string>> = {
  8: text,
  16: 'badcfehgjilknmpo',
  32: 'dcbahgfelkjiponm',
  64: 'hgfedcbaponmlkji',
}
for (const [bits, expected] of Object.entries(words)) {
  test(`swab swaps words of ${bits} bits that are read, and leaves the disk as it is`, async () => {
    const bytes = Buffer.from(text)
    const device = await openDevice(disk({}, bytes), [swab({ bits: Number(bits) })])
    assert.equal((await readBytes(device, 0, 16)).toString(), expected)
    assert.equal(bytes.toString(), text)
    await device.close()
  })

  test(`swab swaps words of ${bits} bits that are written, and leaves the data as they are`, async () => {
    const bytes = Buffer.alloc(16)
    const device = await openDevice(disk({}, bytes), [swab({ bits: Number(bits) })])
    const data = Buffer.from(text)
    await device.write(0, data, { fua: false })
    assert.deepEqual([bytes.toString(), data.toString()], [expected, text])
    await device.close()
  })
}

test('swab swaps what a device returns in several parts, wherever they end', async () => {
  const bytes = Buffer.from(text)
  for (let end = 1; end < 16; end++) {
    const read = () => [bytes.subarray(0, end), bytes.subarray(end)]
    const device = await openDevice(disk({ read }), [swab({ bits: 64 })])
    assert.equal((await readBytes(device, 0, 16)).toString(), words[64])
    await device.close()
  }
})

test('swab twice is the disk itself', async () => {
  const device = await openDevice(memory({ size: '4M' }), [swab({ bits: 64 }), swab({ bits: 64 })])
  const data = Buffer.from(Array.from({ length: 3 * 2 ** 20 }, (_, index) => index % 251))
  await device.write(8, data, { fua: false })
  assert.ok((await readBytes(device, 8, data.length)).equals(data))
  await device.close()
})

for (const bits of [8, 16, 32, 64])
  test(`swab of ${bits} bits meets the contract of a device`, async () => {
    const device = await openDevice(memory({ size: 65539 }), [swab({ bits })])
    await deviceContract(device)
    await device.close()
  })

test('swab rounds the size down, and names the block size', async () => {
  const device = await openDevice(memory({ size: 1001 }), [swab({ bits: 64 })])
  assert.equal(device.size, 1000)
  assert.equal(device.blockSize.minimum, 8)
  await device.close()
})

test('swab lends no memory, as the bytes have to be swapped', async () => {
  const device = await openDevice(memory({ size: '1M' }), [swab()])
  assert.equal(device.window(0, 65536), undefined)
  await device.close()
})

test('swab refuses requests that are not aligned to words', async () => {
  const device = await openDevice(memory({ size: '1M' }), [swab({ bits: 32 })])
  const refused = { code: 'EINVAL', message: 'swab: requests must be aligned to 4 bytes' }
  assert.throws(() => device.read(2, 4, alloc), refused)
  assert.throws(() => device.read(4, 2, alloc), refused)
  assert.throws(() => device.write(4, new Uint8Array(6), { fua: false }), refused)
  await device.close()
})

test('swab leaves zeroes that are known to be holes', async () => {
  const device = await openDevice(disk({ read: (_offset, length) => zeroes(length) }), [swab()])
  const data = await device.read(0, 16, alloc)
  assert.ok(data instanceof Uint8Array && isZeroes(data))
  await device.close()
})

test('swab reports extents in whole words', async () => {
  const extents = () => [
    { length: 3, type: 0 },
    { length: 13, type: HOLE | ZERO },
  ]
  const device = await openDevice(disk({ extents }), [swab({ bits: 32 })])
  assert.deepEqual(
    [...(await device.extents(0, 16))],
    [
      { length: 4, type: 0 },
      { length: 12, type: HOLE | ZERO },
    ],
  )
  await device.close()
})

for (const bits of [0, 7, 24, 128])
  test(`swab refuses swab-bits=${bits}`, async () => {
    await assert.rejects(openDevice(disk(), [swab({ bits })]), {
      message: `swab: swab-bits=${bits}: expected 8, 16, 32 or 64`,
    })
  })
