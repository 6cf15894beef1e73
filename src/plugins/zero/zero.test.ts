import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDevice } from '../../testing/index.js'
import zero from './zero.js'

test('zero is a read-only disk of no bytes, the same for all clients', async () => {
  const device = await openDevice(zero())
  assert.equal(device.size, 0)
  const { write, flush, multiConn, cache } = device.can
  assert.deepEqual(
    { write, flush, multiConn, cache },
    { write: false, flush: false, multiConn: true, cache: 'native' },
  )
  await device.close()
})

test('zero has nothing to read, and nothing to cache', async () => {
  const device = await openDevice(zero())
  const message = /zero: asked to (read|cache) 1 bytes at 0: the device ends at 0/
  assert.throws(() => device.read(0, 1, (length) => new Uint8Array(length)), message)
  assert.throws(() => device.cache(0, 1), message)
  await device.close()
})

test('zero takes no size', async () => {
  const untyped = zero as unknown as (inputs: object) => ReturnType<typeof zero>
  await assert.rejects(openDevice(untyped({ size: 1 })), {
    name: 'ConfigError',
    message: 'zero: unknown parameter "size" (it knows none)',
  })
})
