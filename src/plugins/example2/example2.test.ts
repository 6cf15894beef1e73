import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { deviceContract, openDevice, readBytes, seeded } from '../../testing/index.js'
import example2 from './example2.js'

/** A file of random bytes in a directory that is removed after the test. */
function image(t: TestContext, size: number): { directory: string; file: string; bytes: Buffer } {
  const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-example2-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const random = seeded(size)
  const bytes = Buffer.from(Array.from({ length: size }, () => random.below(256)))
  const file = join(directory, 'disk.img')
  writeFileSync(file, bytes)
  return { directory, file, bytes }
}

test('example2 serves a file, read-only', async (t) => {
  const { file, bytes } = image(t, 300_001)
  const device = await openDevice(example2({ file }))
  assert.equal(device.size, 300_001)
  assert.equal(device.can.write, false)
  assert.ok((await readBytes(device, 0, 300_001)).equals(bytes))
  assert.ok((await readBytes(device, 1000, 5)).equals(bytes.subarray(1000, 1005)))
  await deviceContract(device, { steps: 50 })
  await device.close()
})

test('example2 looks at the size of the file for each client', async (t) => {
  const { file } = image(t, 1000)
  const plugin = example2({ file })
  const first = await openDevice(plugin)
  truncateSync(file, 2000)
  const second = await openDevice(plugin)
  assert.deepEqual([first.size, second.size], [1000, 2000])
  await first.close()
  await second.close()
})

test('example2 says where a file ends that has become shorter', async (t) => {
  const { file } = image(t, 10_000)
  const device = await openDevice(example2({ file }))
  truncateSync(file, 5000)
  await assert.rejects(readBytes(device, 4096, 4096), {
    code: 'EIO',
    message: 'read 4096 at 4096: the file ends at 5000',
  })
  await device.close()
})

test('example2 refuses at the start a file that is missing, or is none', async (t) => {
  const { directory } = image(t, 1)
  const missing = join(directory, 'missing')
  await assert.rejects(openDevice(example2({ file: missing })), {
    name: 'ConfigError',
    message: `example2: cannot serve ${missing}: ENOENT: no such file or directory, stat '${missing}'`,
  })
  await assert.rejects(openDevice(example2({ file: directory })), {
    name: 'ConfigError',
    message: `example2: cannot serve ${directory}: it is not a regular file`,
  })
})

test('example2 refuses a client when the file cannot be opened', {
  skip: process.getuid?.() === 0 ? 'root may read every file' : false,
}, async (t) => {
  const { file } = image(t, 1)
  chmodSync(file, 0)
  await assert.rejects(openDevice(example2({ file })), { code: 'EACCES' })
})

test('example2 needs a file, and says so', async () => {
  const untyped = example2 as unknown as (inputs: object) => ReturnType<typeof example2>
  await assert.rejects(openDevice(untyped({})), {
    name: 'ConfigError',
    message: 'example2: file=PATH is required',
  })
})
