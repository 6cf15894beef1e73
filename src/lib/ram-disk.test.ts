import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPromise, type MaybePromise } from '../api/maybe.js'
import { definePlugin } from '../api/plugin.js'
import { deviceContract, openDevice, readBytes } from '../testing/index.js'
import { allocators, type RamDisk, ramDisk } from './ram-disk.js'

const size = 5 * 2 ** 20 + 7

function open({ operations }: RamDisk, bytes = size) {
  const setup = () => ({ open: () => ({ size: bytes, ...operations }) })
  return openDevice(definePlugin({ name: 'ram', description: 'for tests', params: {}, setup })())
}

for (const allocator of allocators) {
  test(`a disk of ${allocator} memory meets the contract of a device`, async () => {
    const device = await open(ramDisk('ram', size, allocator))
    await deviceContract(device)
    await device.close()
  })

  test(`a disk of ${allocator} memory has what was painted on it`, async () => {
    const disk = ramDisk('ram', size, allocator)
    disk.canvas.write(1000, Buffer.from('abcdefgh'))
    await disk.canvas.zero(1002, 2)
    await disk.canvas.copy(0, 2 ** 21, 2 ** 20)
    const device = await open(disk)
    assert.equal((await readBytes(device, 2 ** 21 + 1000, 8)).toString('latin1'), 'ab\0\0efgh')
    await device.close()
  })
}

for (const allocator of allocators)
  test(`a disk of ${allocator} memory lets others in while much of it is zeroed, written or painted`, async () => {
    const large = 256 * 2 ** 20
    const disk = ramDisk('ram', large, allocator)
    const device = await open(disk, large)
    const flags = { fua: false, mayTrim: true, fast: false }
    const data = Buffer.alloc(64 * 2 ** 20, 1)
    const long: Record<string, () => MaybePromise<void>> = {
      write: () => device.write(0, data, flags),
      copy: () => disk.canvas.copy(0, large / 2, large / 2),
      zero: () => device.zero(0, large, flags),
      'write again': () => device.write(0, data, flags),
      trim: () => device.trim(0, large, flags),
    }
    for (const [name, call] of Object.entries(long)) {
      const log: string[] = []
      const done = call()
      const turn = new Promise<void>((resolve) => setImmediate(resolve)).then(() => log.push('another'))
      // Where memory is given back, that may take no time.
      assert.ok(isPromise(done) || (allocator === 'sparse' && /zero|trim/.test(name)), name)
      await Promise.all([done?.then(() => log.push('done')), turn])
      if (isPromise(done)) assert.deepEqual(log, ['another', 'done'], name)
    }
    await device.close()
  })

test('a disk that cannot be reserved is refused, and says what can be done', () => {
  assert.throws(() => ramDisk('ram', 2 ** 50, 'malloc'), {
    name: 'ConfigError',
    message: /^ram: allocator=malloc cannot reserve \d+ bytes .*: allocator=sparse takes memory only for/,
  })
})
