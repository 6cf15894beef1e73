import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceContract, openDevice } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import nozero from './nozero.js'

type Inputs = NonNullable<Parameters<typeof nozero>[0]>

const all = { fua: false, mayTrim: true, fast: true }
const slow = { ...all, fast: false }

async function open(inputs: Inputs, fastZero = true) {
  const disk = new Disk({ device: { can: { fua: 'native', fastZero } } })
  return { disk, device: await openDevice(disk.plugin, [nozero(inputs)]) }
}

test('nozero takes the writing of zeroes away', async () => {
  for (const fast of ['default', 'none', 'slow', 'ignore'] as const) {
    const { device } = await open({ fast })
    assert.deepEqual([device.can.zero, device.can.fastZero], ['none', false])
    assert.throws(() => device.zero(0, 512, slow), { code: 'EINVAL' })
    await device.close()
  }
})

test('nozero zeromode=emulate writes zeroes, and refuses to do it fast', async () => {
  const { disk, device } = await open({ mode: 'emulate' })
  assert.deepEqual([device.can.zero, device.can.fastZero], ['emulate', true])
  await device.zero(512, 4096, { ...slow, fua: true })
  assert.throws(() => device.zero(0, 512, all), { code: 'ENOTSUP' })
  assert.deepEqual(disk.calls, ['write 4096 at 512 fua'])
  await device.close()
})

test('nozero zeromode=notrim asks for the same without a hole', async () => {
  const { disk, device } = await open({ mode: 'notrim' })
  assert.deepEqual([device.can.zero, device.can.fastZero], ['native', true])
  await device.zero(0, 512, { ...all, fua: true })
  assert.deepEqual(disk.calls, ['zero 512 at 0 fua fast'])
  await device.close()
})

test('nozero zeromode=plugin changes nothing by itself', async () => {
  for (const fastZero of [true, false]) {
    const { disk, device } = await open({ mode: 'plugin' }, fastZero)
    assert.deepEqual([device.can.zero, device.can.fastZero], ['native', fastZero])
    await device.zero(0, 512, all)
    assert.deepEqual(disk.calls, ['zero 512 at 0 mayTrim fast'])
    await device.close()
  }
})

test('nozero fastzeromode=none does not offer fast zeroes', async () => {
  for (const mode of ['emulate', 'notrim', 'plugin'] as const) {
    const { device } = await open({ mode, fast: 'none' })
    assert.equal(device.can.fastZero, false)
    await device.close()
  }
})

test('nozero fastzeromode=slow offers fast zeroes and refuses each, but not those that may be slow', async () => {
  for (const mode of ['emulate', 'notrim', 'plugin'] as const) {
    const { disk, device } = await open({ mode, fast: 'slow' }, false)
    assert.equal(device.can.fastZero, true)
    assert.throws(() => device.zero(0, 512, all), { code: 'ENOTSUP' })
    assert.deepEqual(disk.calls, [])
    await device.zero(0, 512, slow)
    assert.equal(disk.calls.length, 1)
    await device.close()
  }
})

test('nozero fastzeromode=ignore offers fast zeroes and does them as any other', async () => {
  for (const [mode, call] of [
    ['notrim', 'zero 512 at 0'],
    ['plugin', 'zero 512 at 0 mayTrim'],
  ] as const) {
    const { disk, device } = await open({ mode, fast: 'ignore' }, false)
    assert.equal(device.can.fastZero, true)
    await device.zero(0, 512, all)
    assert.deepEqual(disk.calls, [call])
    await device.close()
  }
})

test('nozero over a device that emulates keeps to its emulation', async () => {
  for (const mode of ['emulate', 'notrim', 'plugin'] as const) {
    const disk = new Disk({ without: ['zero'] })
    const device = await openDevice(disk.plugin, [nozero({ mode })])
    assert.deepEqual([device.can.zero, device.can.fastZero], ['emulate', true])
    await device.zero(0, 512, slow)
    assert.throws(() => device.zero(0, 512, all), { code: 'ENOTSUP' })
    assert.deepEqual(disk.calls, ['write 512 at 0'])
    await device.close()
  }
})

test('nozero refuses to leave zeroes to a disk that is read-only, and says why', async () => {
  const disk = new Disk({ without: ['write', 'trim', 'zero'] })
  for (const mode of ['notrim', 'plugin'] as const)
    await assert.rejects(openDevice(disk.plugin, [nozero({ mode })]), {
      name: 'ConfigError',
      message: `nozero: zeromode=${mode} needs a disk that zeroes can be written to, and the one below is not`,
    })
  for (const mode of ['none', 'emulate'] as const) {
    const device = await openDevice(disk.plugin, [nozero({ mode })])
    assert.equal(device.can.zero, 'none')
    await device.close()
  }
})

test('nozero meets the contract of a device in each mode', async () => {
  for (const mode of ['none', 'emulate', 'notrim', 'plugin'] as const)
    for (const fast of ['default', 'none', 'slow', 'ignore'] as const) {
      const { device } = await open({ mode, fast })
      await deviceContract(device)
      await device.close()
    }
})

test('nozero refuses a mode that there is not, and names the key', async () => {
  const untyped = nozero as unknown as (inputs: object) => ReturnType<typeof nozero>
  for (const [inputs, message] of [
    [{ mode: 'trim' }, 'nozero: zeromode: "trim" is none of none, emulate, notrim, plugin'],
    [{ fast: 'fast' }, 'nozero: fastzeromode: "fast" is none of default, none, slow, ignore'],
  ] as const)
    await assert.rejects(openDevice(new Disk().plugin, [untyped(inputs)]), { name: 'ConfigError', message })
})
