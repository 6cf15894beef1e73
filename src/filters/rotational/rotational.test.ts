import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NBD_FLAG_ROTATIONAL } from '../../protocol/constants.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import { Disk, serve } from '../../testing/served-disk.js'
import rotational from './rotational.js'

for (const below of [false, true])
  for (const wanted of [undefined, true, false])
    test(`rotational ${wanted ?? 'without a value'} changes a disk that says ${below}`, async () => {
      const disk = new Disk({ device: { rotational: below } })
      const filter = wanted === undefined ? rotational() : rotational({ rotational: wanted })
      const device = await openDevice(disk.plugin, [filter])
      assert.equal(device.rotational, wanted ?? true)
      await device.close()
    })

test('the outer one of two rotational filters wins', async () => {
  const filters = [rotational({ rotational: false }), rotational({ rotational: true })]
  const device = await openDevice(new Disk().plugin, filters)
  assert.equal(device.rotational, false)
  await device.close()
})

test('rotational sets the flag that a client gets', async (t) => {
  for (const wanted of [true, false]) {
    const { connect } = serve(t, new Disk(), { filters: [rotational({ rotational: wanted })] })
    const { flags } = await connect().go()
    assert.equal((flags & NBD_FLAG_ROTATIONAL) !== 0, wanted)
  }
})

test('rotational changes no request, and meets the contract of a device', async () => {
  const device = await openDevice(new Disk().plugin, [rotational()])
  await deviceContract(device)
  await device.close()
})

test('rotational refuses a value that is no boolean, and names the key', async () => {
  await assert.rejects(openDevice(new Disk().plugin, [rotational({ rotational: 'maybe' })]), {
    name: 'ConfigError',
    message: 'rotational: rotational: could not decipher boolean (true or false): "maybe"',
  })
})
