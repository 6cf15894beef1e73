import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Device } from '../../api/device.js'
import { defineFilter } from '../../api/plugin.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import nofilter from './nofilter.js'

/** A filter that shows the device below it. */
function look(found: Device[]) {
  return defineFilter({
    name: 'look',
    description: 'for tests',
    params: {},
    setup: () => ({
      async open(request, next) {
        const device = await next(request)
        found.push(device)
        return device
      },
    }),
  })()
}

test('nofilter passes everything on, by the functions of the device itself', async () => {
  const found: Device[] = []
  const device = await openDevice(new Disk().plugin, [look(found), nofilter(), look(found)])
  const [below, above] = found.map((one) => Object.entries(one).filter(([key]) => key !== 'close'))
  assert.deepEqual(above, below)
  await device.close()
})

test('nofilter meets the contract of a device', async () => {
  const device = await openDevice(new Disk().plugin, [nofilter()])
  await deviceContract(device)
  await device.close()
})
