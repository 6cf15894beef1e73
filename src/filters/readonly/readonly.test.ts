import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import readonly from './readonly.js'

const data = new Uint8Array(512)
const no = { fua: false, mayTrim: false, fast: false }

/** The name of a file that does not exist yet. */
async function noFile(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-readonly-'))
  t.after(() => rm(directory, { recursive: true }))
  return join(directory, 'read-only')
}

test('readonly makes a disk read-only, and opens it so', async () => {
  const disk = new Disk()
  const device = await openDevice(disk.plugin, [readonly()])
  const { write, trim, zero, fua, flush } = device.can
  assert.deepEqual(
    { write, trim, zero, fua, flush },
    { write: false, trim: false, zero: 'none', fua: 'none', flush: true },
  )
  assert.equal(disk.opened[0]?.readOnly, true)
  assert.throws(() => device.write(0, data, no), { code: 'EPERM' })
  assert.equal((await readBytes(device, 0, 512)).length, 512)
  assert.deepEqual(disk.calls, ['read 512 at 0'])
  await device.close()
})

test('readonly with a file lets changes through until the file exists, and again when it is gone', async (t) => {
  const file = await noFile(t)
  const disk = new Disk()
  const device = await openDevice(disk.plugin, [readonly({ file })])
  assert.equal(disk.opened[0]?.readOnly, false)
  const change = [
    () => device.write(0, data, no),
    () => device.trim(0, 512, no),
    () => device.zero(0, 512, no),
  ]
  for (const changed of change) await changed()
  await writeFile(file, '')
  for (const changed of change)
    await assert.rejects(
      async () => changed(),
      (error: NodeJS.ErrnoException) => {
        assert.equal(error.code, 'EPERM')
        assert.match(error.message, /^(write|trim|zero): the disk is read-only: .*read-only exists$/)
        return true
      },
    )
  await readBytes(device, 0, 512)
  await device.flush()
  await rm(file)
  for (const changed of change) await changed()
  const changes = ['write 512 at 0', 'trim 512 at 0', 'zero 512 at 0']
  assert.deepEqual(disk.calls, [...changes, 'read 512 at 0', 'flush', ...changes])
  await device.close()
})

test('readonly with a file leaves a disk alone that is read-only anyway', async (t) => {
  const disk = new Disk({ without: ['write', 'trim', 'zero'] })
  const device = await openDevice(disk.plugin, [readonly({ file: await noFile(t) })])
  assert.equal(device.can.write, false)
  await deviceContract(device)
  await device.close()
})

test('readonly meets the contract of a device, with and without a file', async (t) => {
  for (const filter of [readonly(), readonly({ file: await noFile(t) })]) {
    const device = await openDevice(new Disk().plugin, [filter])
    await deviceContract(device)
    await device.close()
  }
})

test('readonly refuses a file without a name', async () => {
  await assert.rejects(openDevice(new Disk().plugin, [readonly({ file: '' })]), {
    name: 'ConfigError',
    message: 'readonly: readonly-file: the file name is empty',
  })
})
