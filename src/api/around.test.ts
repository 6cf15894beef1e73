import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDevice, readBytes } from '../testing/index.js'
import { around, type Command } from './around.js'
import { andThen, isPromise } from './maybe.js'
import { definePlugin } from './plugin.js'
import { isZeroes, zeroes } from './zeroes.js'

const disk = definePlugin({
  name: 'disk',
  description: 'for tests',
  params: {},
  setup: () => ({
    open: () => ({
      size: 4096,
      can: { fua: 'native' },
      read: (_offset: number, length: number) => zeroes(length),
      write() {},
      flush() {},
      trim() {},
      zero() {},
      cache() {},
      extents: (_offset: number, length: number) => [{ length, type: 0 }],
    }),
  }),
})

test('around sees each command with its place and flags, and stays synchronous', async () => {
  const seen: Command[] = []
  const device = around(await openDevice(disk()), (command, proceed) => {
    seen.push(command)
    return proceed()
  })
  const alloc = (length: number) => new Uint8Array(length)
  assert.ok(!isPromise(device.read(512, 8, alloc)))
  device.write(8, new Uint8Array(16), { fua: true })
  device.flush()
  device.trim(0, 4, { fua: false })
  device.zero(4, 4, { fua: false, mayTrim: true, fast: false })
  device.extents(0, 9)
  device.cache(1, 2)
  assert.deepEqual(
    seen.map(({ type, offset, length }) => `${type} ${length} at ${offset}`),
    [
      'read 8 at 512',
      'write 16 at 8',
      'flush 0 at 0',
      'trim 4 at 0',
      'zero 4 at 4',
      'extents 9 at 0',
      'cache 2 at 1',
    ],
  )
  assert.deepEqual(seen[1]?.flags, { fua: true })
  assert.deepEqual(seen[4]?.flags, { fua: false, mayTrim: true, fast: false })
})

test('around may answer in place of the device, or fail', async () => {
  const inner = await openDevice(disk())
  const failing = around(inner, () => {
    throw new Error('no')
  })
  await assert.rejects(readBytes(failing, 0, 1), /^Error: no$/)
  assert.equal(failing.size, 4096)
})

test('andThen goes on at once with a value, and later with a promise', async () => {
  assert.equal(
    andThen(1, (n) => n + 1),
    2,
  )
  const later = andThen(Promise.resolve(1), (n) => n + 1)
  assert.ok(isPromise(later))
  assert.equal(await later, 2)
  for (const value of [undefined, null, 0, 'x', {}]) assert.equal(isPromise(value), false)
})

test('zeroes are so many zero bytes, of any length, and are recognised', () => {
  for (const length of [1, 4096, 2 ** 20, 2 ** 20 + 1, 5 * 2 ** 20]) {
    const data = zeroes(length)
    const parts = data instanceof Uint8Array ? [data] : data
    assert.equal(
      parts.reduce((sum, part) => sum + part.length, 0),
      length,
    )
    assert.ok(parts.every((part) => isZeroes(part) && part.every((byte) => byte === 0)))
  }
  assert.equal(isZeroes(new Uint8Array(8)), false)
})
