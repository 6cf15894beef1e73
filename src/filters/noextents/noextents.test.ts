import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HOLE, ZERO } from '../../api/device.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import noextents from './noextents.js'

const asked = new Disk({
  device: {
    extents: (_offset, length, context) => [{ length, type: context === 'x-test:dirty' ? 7 : HOLE | ZERO }],
    contexts: ['x-test:dirty'],
  },
})

test('noextents reports all of a disk as data', async () => {
  const device = await openDevice(asked.plugin, [noextents()])
  assert.equal(device.can.extents, false)
  assert.deepEqual([...(await device.extents(512, 4096))], [{ length: 4096, type: 0 }])
  await device.close()
})

test('noextents leaves the contexts that a device names', async () => {
  const device = await openDevice(asked.plugin, [noextents()])
  assert.deepEqual([...(await device.extents(0, 512, 'x-test:dirty'))], [{ length: 512, type: 7 }])
  await device.close()
})

test('noextents meets the contract of a device, also over one whose extents are wrong', async () => {
  const device = await openDevice(asked.plugin, [noextents()])
  await deviceContract(device)
  await device.close()
})
