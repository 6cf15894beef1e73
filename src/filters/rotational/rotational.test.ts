import assert from 'node:assert/strict'
import { test } from 'node:test'
import memory from '../../plugins/memory/memory.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import rotational from './rotational.js'

for (const [values, expected] of [
  [undefined, true],
  [{ rotational: 'on' }, true],
  [{ rotational: false }, false],
] as const)
  test(`rotational says ${expected} with ${JSON.stringify(values ?? {})}`, async () => {
    const device = await openDevice(memory({ size: '1M' }), [rotational(values)])
    assert.equal(device.rotational, expected)
    await deviceContract(device)
    await device.close()
  })

test('rotational of the outer of two filters holds', async () => {
  const filters = [rotational({ rotational: false }), rotational()]
  const device = await openDevice(memory({ size: '1M' }), filters)
  assert.equal(device.rotational, false)
  await device.close()
})

test('rotational refuses what is no boolean', () =>
  assert.rejects(openDevice(memory({ size: 512 }), [rotational({ rotational: 'round' })]), /"round"/))
