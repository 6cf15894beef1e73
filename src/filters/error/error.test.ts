import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Device } from '../../api/device.js'
import { keysOf } from '../../api/params.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import { Disk } from '../../testing/served-disk.js'
import error from './error.js'

const data = new Uint8Array(512)
const no = { fua: false, mayTrim: false, fast: false }

const requests: Readonly<Record<string, (device: Device) => unknown>> = {
  read: (device) => device.read(0, 512, (length) => new Uint8Array(length)),
  write: (device) => device.write(0, data, no),
  trim: (device) => device.trim(0, 512, no),
  zero: (device) => device.zero(0, 512, no),
  extents: (device) => device.extents(0, 512),
  dirty: (device) => device.extents(0, 512, 'x-test:dirty'),
  cache: (device) => device.cache(0, 512),
  flush: (device) => device.flush(),
}

function newDisk(): Disk {
  const extents = (_offset: number, length: number) => [{ length, type: 0 }]
  return new Disk({ device: { extents, contexts: ['x-test:dirty'] } })
}

/** The error code of each kind of request that fails. */
async function failures(...[inputs]: Parameters<typeof error>): Promise<Record<string, unknown>> {
  const device = await openDevice(newDisk().plugin, [error(inputs)])
  const found: Record<string, unknown> = {}
  for (const [name, request] of Object.entries(requests)) {
    try {
      await request(device)
    } catch (thrown) {
      found[name] = (thrown as NodeJS.ErrnoException).code
    }
  }
  await device.close()
  return found
}

test('error fails nothing unless it is told how often', async () => {
  assert.deepEqual(await failures(), {})
  assert.deepEqual(await failures({ error: 'ENOSPC', readError: 'EPERM', rate: 0 }), {})
})

test('error fails every request but a flush with the error that is asked for', async () => {
  const codes = ['EPERM', 'EIO', 'ENOMEM', 'EINVAL', 'ENOSPC', 'EOVERFLOW', 'ENOTSUP', 'ESHUTDOWN'] as const
  for (const code of codes) {
    const all = { read: code, write: code, trim: code, zero: code, extents: code, dirty: code, cache: code }
    assert.deepEqual(await failures({ error: code, rate: '100%' }), all)
  }
})

test('error fails with EIO by default, and names itself and the request', async () => {
  const device = await openDevice(newDisk().plugin, [error({ rate: 1 })])
  assert.throws(() => device.write(0, data, no), { code: 'EIO', message: 'error: injected EIO into write' })
  await device.close()
})

test('error fails each kind of request as it is told for it alone', async () => {
  for (const kind of ['read', 'write', 'trim', 'zero', 'cache'] as const)
    assert.deepEqual(await failures({ [`${kind}Error`]: 'ENOMEM', [`${kind}Rate`]: 1 }), { [kind]: 'ENOMEM' })
  assert.deepEqual(await failures({ extentsError: 'EPERM', extentsRate: 1 }), {
    extents: 'EPERM',
    dirty: 'EPERM',
  })
})

test('error holds what is for one kind over what is for all', async () => {
  assert.deepEqual(
    await failures({
      error: 'ENOSPC',
      rate: 1,
      readRate: 0,
      cacheRate: 0,
      extentsRate: 0,
      zeroError: 'EINVAL',
    }),
    { write: 'ENOSPC', trim: 'ENOSPC', zero: 'EINVAL' },
  )
})

test('error fails as many requests as its rate says', async (t) => {
  const device = await openDevice(newDisk().plugin, [error({ rate: 0.25 })])
  let chance = 0
  t.mock.method(Math, 'random', () => chance)
  chance = 0.2499
  assert.throws(() => device.trim(0, 512, no), { code: 'EIO' })
  chance = 0.25
  await device.trim(0, 512, no)
  await device.close()
})

/** The name of a file that does not exist yet. */
async function noFile(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-error-'))
  t.after(() => rm(directory, { recursive: true }))
  return join(directory, 'inject')
}

test('error with a file fails requests while the file exists', async (t) => {
  const file = await noFile(t)
  const device = await openDevice(newDisk().plugin, [error({ rate: 1, file })])
  for (let round = 0; round < 2; round++) {
    await device.write(0, data, no)
    await writeFile(file, '')
    await assert.rejects(async () => device.write(0, data, no), { code: 'EIO' })
    await rm(file)
  }
  await device.close()
})

test('error with a file for one kind looks at the other file for the others', async (t) => {
  const file = await noFile(t)
  await writeFile(file, '')
  const inputs = { rate: 1, file, writeFile: await noFile(t) }
  const { write, ...others } = await failures(inputs)
  assert.equal(write, undefined)
  assert.deepEqual(Object.keys(others), ['read', 'trim', 'zero', 'extents', 'dirty', 'cache'])
})

test('error has the keys of nbdkit', () => {
  const keys = Object.entries(error.definition.params).flatMap(([name, param]) => [...keysOf(name, param)])
  const kinds = ['', '-pread', '-pwrite', '-trim', '-zero', '-extents', '-cache']
  assert.deepEqual(
    keys,
    kinds.flatMap((kind) => [`error${kind}`, `error${kind}-rate`, `error${kind}-file`]),
  )
})

test('error meets the contract of a device while it fails nothing', async (t) => {
  for (const filter of [error(), error({ rate: 1, file: await noFile(t) })]) {
    const device = await openDevice(newDisk().plugin, [filter])
    await deviceContract(device)
    await device.close()
  }
})

test('error refuses an error or a rate that there is not, and names the key', async () => {
  const untyped = error as unknown as (inputs: object) => ReturnType<typeof error>
  for (const [inputs, message] of [
    [{ error: 'EPIPE' }, /^error: error: "EPIPE" is none of EPERM, EIO, /],
    [{ writeError: 'eio' }, /^error: error-pwrite: "eio" is none of EPERM, /],
    [{ rate: '101%' }, /^error: error-rate: probability 1.01 is out of range: expected 0 to 1/],
    [{ zeroRate: 'often' }, /^error: error-zero-rate: could not parse probability "often"/],
  ] as const)
    await assert.rejects(openDevice(newDisk().plugin, [untyped(inputs)]), { name: 'ConfigError', message })
})
