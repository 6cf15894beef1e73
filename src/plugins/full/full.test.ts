import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import full from './full.js'

const notFua = { fua: false }

test('full reads as zeroes, and is one hole', async () => {
  const device = await openDevice(full({ size: '1G' }))
  await deviceContract({ ...device, can: { ...device.can, write: false } })
  assert.ok((await readBytes(device, 2 ** 29, 2 ** 21)).every((byte) => byte === 0))
  for (const offset of [0, 4096])
    assert.deepEqual([...(await device.extents(offset, 512))], [{ length: 2 ** 30 - offset, type: 3 }])
  await device.cache(0, 4096)
  await device.close()
})

test('full has no space for a write, a trim or zeroes', async () => {
  const device = await openDevice(full({ size: '1M' }))
  const refused = (what: string) => ({ code: 'ENOSPC', message: `${what} 512 at 1024: the disk is full` })
  assert.throws(() => device.write(1024, Buffer.alloc(512), notFua), refused('write'))
  assert.throws(() => device.trim(1024, 512, notFua), refused('trim'))
  const flags = { fua: false, mayTrim: true, fast: false }
  assert.throws(() => device.zero(1024, 512, flags), refused('write'))
  await device.close()
})

test('full cannot zero fast, and says so before it is full', async () => {
  const device = await openDevice(full({ size: '1M' }))
  assert.equal(device.can.fastZero, true)
  assert.throws(() => device.zero(0, 512, { fua: false, mayTrim: true, fast: true }), { code: 'ENOTSUP' })
  await device.close()
})

test('full has nothing to flush, and is the same for all clients', async () => {
  const device = await openDevice(full({ size: '1M' }))
  const { write, flush, fua, multiConn, cache } = device.can
  assert.deepEqual(
    { write, flush, fua, multiConn, cache },
    { write: true, flush: false, fua: 'none', multiConn: true, cache: 'native' },
  )
  await device.close()
})

test('full has no disk without a size, and says so', async () => {
  const untyped = full as unknown as (inputs: object) => ReturnType<typeof full>
  await assert.rejects(openDevice(untyped({})), {
    name: 'ConfigError',
    message: 'full: size=SIZE is required',
  })
})
