import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceContract, openDevice } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import nocache from './nocache.js'

test('nocache takes cache requests away', async () => {
  const device = await openDevice(new Disk().plugin, [nocache()])
  assert.equal(device.can.cache, 'none')
  assert.throws(() => device.cache(0, 512), { code: 'EINVAL' })
  await device.close()
})

test('nocache emulates them by reading, also over a device with its own way', async () => {
  for (const disk of [new Disk(), new Disk({ without: ['cache'] })]) {
    const device = await openDevice(disk.plugin, [nocache({ mode: 'emulate' })])
    assert.equal(device.can.cache, 'emulate')
    await device.cache(512, 4096)
    assert.deepEqual(disk.calls, ['read 4096 at 512'])
    await device.close()
  }
})

test('nocache takes them and does nothing, also over a device that takes none', async () => {
  for (const disk of [new Disk(), new Disk({ without: ['cache'] })]) {
    const device = await openDevice(disk.plugin, [nocache({ mode: 'nop' })])
    assert.equal(device.can.cache, 'native')
    await device.cache(512, 4096)
    assert.deepEqual(disk.calls, [])
    await device.close()
  }
})

test('nocache meets the contract of a device in each mode', async () => {
  for (const mode of ['none', 'emulate', 'nop'] as const) {
    const device = await openDevice(new Disk().plugin, [nocache({ mode })])
    await deviceContract(device)
    await device.close()
  }
})

test('nocache refuses a mode that there is not, and names the key', async () => {
  const untyped = nocache as unknown as (inputs: object) => ReturnType<typeof nocache>
  await assert.rejects(openDevice(new Disk().plugin, [untyped({ mode: 'some' })]), {
    name: 'ConfigError',
    message: 'nocache: cachemode: "some" is none of none, emulate, nop',
  })
})
