import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import example3 from './example3.js'

const notFua = { fua: false }

/** The directory for temporary files during the test. */
function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-test-'))
  const before = process.env.TMPDIR
  process.env.TMPDIR = directory
  t.after(() => {
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
    rmSync(directory, { recursive: true })
  })
  return directory
}

test('example3 meets the contract of a device', async (t) => {
  scratch(t)
  for (const size of [1, 4097, 300_001]) {
    const device = await openDevice(example3({ size }))
    await deviceContract(device, { steps: 300 })
    await device.close()
  }
})

test('example3 has 100 MiB unless a size is given', async (t) => {
  scratch(t)
  const device = await openDevice(example3())
  assert.equal(device.size, 100 * 2 ** 20)
  assert.ok((await readBytes(device, device.size - 4096, 4096)).every((byte) => byte === 0))
  await device.close()
})

test('example3 is a disk of its own for each client', async (t) => {
  scratch(t)
  const plugin = example3({ size: '1M' })
  const [one, other] = [await openDevice(plugin), await openDevice(plugin)]
  await one.write(100, Buffer.from('mine'), notFua)
  assert.equal((await readBytes(one, 100, 4)).toString(), 'mine')
  assert.equal((await readBytes(other, 100, 4)).toString('hex'), '00000000')
  await one.close()
  await other.close()
})

test('example3 leaves nothing behind', async (t) => {
  const directory = scratch(t)
  const device = await openDevice(example3({ size: '1M' }))
  await device.write(0, Buffer.alloc(2 ** 20, 1), notFua)
  await device.flush()
  await device.close()
  assert.deepEqual(readdirSync(directory), [])
})

test('example3 can flush, so that FUA and zeroes are done for it', async (t) => {
  scratch(t)
  const device = await openDevice(example3({ size: '1M' }))
  const { write, flush, trim, zero, fua, multiConn } = device.can
  assert.deepEqual(
    { write, flush, trim, zero, fua, multiConn },
    { write: true, flush: true, trim: false, zero: 'emulate', fua: 'emulate', multiConn: false },
  )
  await device.write(0, Buffer.alloc(4096, 1), { fua: true })
  await device.zero(1000, 2000, { fua: true, mayTrim: true, fast: false })
  assert.ok((await readBytes(device, 1000, 2000)).every((byte) => byte === 0))
  await device.close()
})

test('example3 refuses a client for which there is no file, and leaves nothing behind', async (t) => {
  const directory = scratch(t)
  // Some file systems support files of that size.
  const device = await openDevice(example3({ size: Number.MAX_SAFE_INTEGER })).catch((error) => {
    assert.equal(error.code, 'EFBIG')
  })
  await device?.close()
  assert.deepEqual(readdirSync(directory), [])
  process.env.TMPDIR = join(directory, 'missing')
  await assert.rejects(openDevice(example3()), { code: 'ENOENT' })
})
