import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Device } from '../../api/device.js'
import { defineFilter } from '../../api/plugin.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import example4 from './example4.js'

const notFua = { fua: false }

test('example4 meets the contract of a device', async () => {
  for (const size of [1, 4097, 1_000_003]) {
    const device = await openDevice(example4({ size }))
    await deviceContract(device, { seed: size })
    await device.close()
  }
})

test('example4 is one disk for all clients', async () => {
  const others: Device[] = []
  const twice = defineFilter({
    name: 'twice',
    description: 'for tests',
    params: {},
    setup: () => ({
      async open(request, next) {
        others.push(await next(request))
        return next(request)
      },
    }),
  })
  const device = await openDevice(example4({ size: '1M' }), [twice()])
  await device.write(100, Buffer.from('seen'), notFua)
  const [other] = others
  assert.ok(other)
  assert.equal((await readBytes(other, 100, 4)).toString(), 'seen')
  await device.close()
})

test('example4 can write, flush and zero', async () => {
  const device = await openDevice(example4({ size: '1M' }))
  const { write, flush, trim, zero, fua, multiConn } = device.can
  assert.deepEqual(
    { write, flush, trim, zero, fua, multiConn },
    { write: true, flush: true, trim: false, zero: 'native', fua: 'emulate', multiConn: true },
  )
  await device.write(0, Buffer.alloc(100, 1), { fua: true })
  await device.zero(10, 50, { fua: false, mayTrim: true, fast: false })
  assert.equal((await readBytes(device, 0, 100)).indexOf(0), 10)
  await device.flush()
  await device.close()
})

test('example4 refuses a disk that there is no memory for', async () => {
  await assert.rejects(openDevice(example4({ size: '7P' })), {
    name: 'ConfigError',
    message: 'example4: there is no memory for a disk of 7881299347898368 bytes',
  })
})

test('example4 needs a size, and says so', async () => {
  const untyped = example4 as unknown as (inputs: object) => ReturnType<typeof example4>
  await assert.rejects(openDevice(untyped({})), {
    name: 'ConfigError',
    message: 'example4: size=SIZE is required',
  })
})
