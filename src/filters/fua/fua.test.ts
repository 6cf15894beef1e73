import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Support } from '../../api/device.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import fua from './fua.js'

type Inputs = NonNullable<Parameters<typeof fua>[0]>

const data = new Uint8Array(512)

/**
 * Opens a disk whose FUA is `support`, and returns the calls that reach it for each change and for a flush.
 */
async function through(inputs: Inputs, support: Support, asked: boolean) {
  const disk = new Disk({ device: { can: { fua: support } } })
  const device = await openDevice(disk.plugin, [fua(inputs)])
  await device.write(0, data, { fua: asked })
  await device.trim(0, 512, { fua: asked })
  await device.zero(0, 512, { fua: asked, mayTrim: true, fast: false })
  await device.flush()
  await device.close()
  return { can: device.can.fua, calls: disk.calls }
}
const plain = ['write 512 at 0', 'trim 512 at 0', 'zero 512 at 0 mayTrim']
const durable = ['write 512 at 0 fua', 'trim 512 at 0 fua', 'zero 512 at 0 fua mayTrim']
const flushed = plain.flatMap((call) => [call, 'flush'])

test('fua does not offer FUA, and leaves flushes', async () => {
  for (const support of ['native', 'emulate'] as const)
    assert.deepEqual(await through({}, support, false), { can: 'none', calls: [...plain, 'flush'] })
})

test('fua fuamode=emulate flushes after each durable change, also over a disk with its own way', async () => {
  for (const support of ['native', 'emulate'] as const) {
    const inputs = { mode: 'emulate' } as const
    assert.deepEqual(await through(inputs, support, true), { can: 'emulate', calls: [...flushed, 'flush'] })
    assert.deepEqual(await through(inputs, support, false), { can: 'emulate', calls: [...plain, 'flush'] })
  }
})

test('fua fuamode=native passes FUA to the disk, whichever way it does it', async () => {
  const inputs = { mode: 'native' } as const
  assert.deepEqual(await through(inputs, 'native', true), { can: 'native', calls: [...durable, 'flush'] })
  assert.deepEqual(await through(inputs, 'emulate', true), { can: 'native', calls: [...flushed, 'flush'] })
})

test('fua fuamode=force makes each change durable, so that there is nothing to flush', async () => {
  const inputs = { mode: 'force' } as const
  for (const asked of [true, false]) {
    assert.deepEqual(await through(inputs, 'native', asked), { can: 'native', calls: durable })
    assert.deepEqual(await through(inputs, 'emulate', asked), { can: 'native', calls: flushed })
  }
})

test('fua fuamode=pass changes nothing', async () => {
  const inputs = { mode: 'pass' } as const
  assert.deepEqual(await through(inputs, 'native', true), { can: 'native', calls: [...durable, 'flush'] })
  assert.deepEqual(await through(inputs, 'emulate', true), { can: 'emulate', calls: [...flushed, 'flush'] })
})

test('fua fuamode=discard takes FUA and flushes, and does neither', async () => {
  for (const support of ['native', 'emulate', 'none'] as const)
    assert.deepEqual(await through({ mode: 'discard' }, support, true), { can: 'native', calls: plain })
})

test('fua fuamode=discard takes flushes for a disk that cannot be flushed', async () => {
  const disk = new Disk({ without: ['flush'] })
  const device = await openDevice(disk.plugin, [fua({ mode: 'discard' })])
  assert.deepEqual([device.can.flush, device.can.fua], [true, 'native'])
  await device.flush()
  await device.write(0, data, { fua: true })
  assert.deepEqual(disk.calls, ['write 512 at 0'])
  await device.close()
})

test('fua flush-on-close=true flushes the disk when it is closed, whatever the mode', async () => {
  for (const mode of ['none', 'emulate', 'native', 'force', 'pass', 'discard'] as const) {
    const disk = new Disk()
    const device = await openDevice(disk.plugin, [fua({ mode, flushOnClose: true })])
    assert.deepEqual(disk.calls, [])
    await device.close()
    assert.deepEqual([disk.calls, disk.closed], [['flush'], 1])
  }
})

test('fua refuses a mode that the disk cannot serve, and says what is missing', async () => {
  const noFlush = new Disk({ without: ['flush'] })
  for (const [inputs, message] of [
    [{ mode: 'emulate' }, 'fua: fuamode=emulate needs a disk that can be flushed, and the one below cannot'],
    [{ mode: 'native' }, 'fua: fuamode=native needs a disk with FUA, and the one below has none'],
    [{ mode: 'force' }, 'fua: fuamode=force needs a disk with FUA, and the one below has none'],
    [
      { mode: 'pass', flushOnClose: true },
      'fua: flush-on-close=true needs a disk that can be flushed, and the one below cannot',
    ],
  ] as const)
    await assert.rejects(openDevice(noFlush.plugin, [fua(inputs)]), { name: 'ConfigError', message })
})

test('fua meets the contract of a device in each mode, also over a disk that writes zeroes', async () => {
  for (const mode of ['none', 'emulate', 'native', 'force', 'pass', 'discard'] as const)
    for (const without of [[], ['zero']] as const) {
      const device = await openDevice(new Disk({ without }).plugin, [fua({ mode })])
      await deviceContract(device)
      await device.close()
    }
})

test('fua refuses a mode that there is not, and names the key', async () => {
  const untyped = fua as unknown as (inputs: object) => ReturnType<typeof fua>
  await assert.rejects(openDevice(new Disk().plugin, [untyped({ mode: 'some' })]), {
    name: 'ConfigError',
    message: 'fua: fuamode: "some" is none of none, emulate, native, force, pass, discard',
  })
})
