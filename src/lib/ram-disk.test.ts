import assert from 'node:assert/strict'
import { test } from 'node:test'
import { definePlugin } from '../api/plugin.js'
import { deviceContract, openDevice, readBytes } from '../testing/index.js'
import { allocators, type RamDisk, ramDisk } from './ram-disk.js'

const size = 5 * 2 ** 20 + 7

function open({ operations }: RamDisk) {
  const setup = () => ({ open: () => ({ size, ...operations }) })
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
    disk.canvas.zero(1002, 2)
    disk.canvas.copy(0, 2 ** 21, 2 ** 20)
    const device = await open(disk)
    assert.equal((await readBytes(device, 2 ** 21 + 1000, 8)).toString('latin1'), 'ab\0\0efgh')
    await device.close()
  })
}

test('a disk that cannot be reserved is refused, and says what can be done', () => {
  assert.throws(() => ramDisk('ram', 2 ** 50, 'malloc'), {
    name: 'ConfigError',
    message: /^ram: allocator=malloc cannot reserve \d+ bytes .*: allocator=sparse takes memory only for/,
  })
})
