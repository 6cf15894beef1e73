import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Device } from '../../api/device.js'
import { definePlugin } from '../../api/plugin.js'
import { type Libc, libc, whyNoLibc } from '../../os/libc.js'
import { Patience } from '../../os/patience.js'
import { deviceContract, openDevice, readBytes, seeded } from '../../testing/index.js'
import { type DiskOptions, fileDisk } from './disk.js'
import { openPath } from './open-file.js'
import { PolledReads } from './polled-reads.js'

const needsLibc = { skip: whyNoLibc() ?? false }
const mebibyte = 2 ** 20

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-disk-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return directory
}

/** A file of random bytes. */
function image(directory: string, size: number): { path: string; bytes: Buffer } {
  const random = seeded(size)
  const bytes = Buffer.from(Array.from({ length: size }, () => random.below(256)))
  const path = join(directory, 'disk.img')
  writeFileSync(path, bytes)
  return { path, bytes }
}

function openDisk(path: string, options: Partial<DiskOptions> = {}): Promise<Device> {
  const plugin = definePlugin({
    name: 'disk',
    description: 'for tests',
    params: {},
    setup: (_, { log }) => ({
      open: async ({ readOnly }) =>
        fileDisk(await openPath(path, 'the file', readOnly, log), {
          libc: libc(),
          log,
          fadvise: 'normal',
          keepCached: true,
          patience: new Patience(),
          polledReads: undefined,
          ...options,
        }),
    }),
  })
  return openDevice(plugin())
}

/** A patience whose clock stops after a long call: every call goes to the thread pool. */
function impatience(): Patience {
  let now = 0
  const patience = new Patience(() => now)
  patience.spend(() => {
    now = 1
  })
  return patience
}

/** The C library of a system that cannot tell what is cached. */
function untelling(): Libc | undefined {
  const preadNoWait = () => {
    throw Object.assign(new Error('operation not supported'), { code: 'EOPNOTSUPP' })
  }
  const library = libc()
  return library && { ...library, preadNoWait }
}

/** A disk that returns part of the data at each request, and nothing at the first. */
function hesitant(): Partial<DiskOptions> {
  const library = libc()
  if (!library) return {}
  let asks = 0
  const preadNoWait: Libc['preadNoWait'] = (fd, target, offset) =>
    asks++ % 3 === 0 ? -1 : library.preadNoWait(fd, target.subarray(0, Math.ceil(target.length / 2)), offset)
  const changed = { ...library, preadNoWait }
  return { libc: changed, polledReads: new PolledReads(changed) }
}

/** Each path that the bytes can take. */
const ways: Record<string, () => Partial<DiskOptions>> = {
  'with the C library': () => ({}),
  'where the disk brings it bit by bit': hesitant,
  'where the file system cannot tell what is cached': () => ({ libc: untelling() }),
  'without the C library': () => ({ libc: undefined }),
  'through the thread pool': () => ({ libc: undefined, patience: impatience() }),
  'past the page cache': () => ({ keepCached: false }),
}

for (const [way, options] of Object.entries(ways)) {
  test(`a disk meets the contract of a device ${way}`, async (t) => {
    const { path } = image(temporary(t), 300_001)
    const device = await openDisk(path, options())
    await deviceContract(device, { steps: 300 })
    await device.close()
  })

  test(`a disk reads and writes short and long ranges ${way}`, async (t) => {
    const { path, bytes } = image(temporary(t), mebibyte)
    const device = await openDisk(path, options())
    for (const [offset, length] of [
      [5, 100],
      [1, 262_144],
      [0, mebibyte],
    ] as const) {
      assert.ok((await readBytes(device, offset, length)).equals(bytes.subarray(offset, offset + length)))
      const data = Buffer.alloc(length, length % 256)
      await device.write(offset, data, { fua: true })
      data.copy(bytes, offset)
    }
    await device.flush()
    assert.ok((await readBytes(device, 0, mebibyte)).equals(bytes))
    await device.close()
  })

  test(`a read past the end of a file that has shrunk is an I/O error ${way}`, async (t) => {
    const { path } = image(temporary(t), mebibyte)
    const device = await openDisk(path, options())
    truncateSync(path, 5000)
    for (const [offset, length] of [
      [4096, 4096],
      [0, mebibyte],
    ] as const)
      await assert.rejects(readBytes(device, offset, length), {
        code: 'EIO',
        message: `read ${length} at ${offset}: unexpected end of file: the file ends at 5000`,
      })
    await assert.rejects(readBytes(device, 8192, 10), /read 10 at 8192: unexpected end of file/)
    assert.equal((await readBytes(device, 4000, 1000)).length, 1000)
    await device.close()
  })
}

test('what one connection writes, another reads and may flush', async (t) => {
  const { path } = image(temporary(t), 4096)
  const [one, two] = [await openDisk(path), await openDisk(path)]
  await one.write(0, Buffer.from('hello'), { fua: false })
  assert.equal((await readBytes(two, 0, 5)).toString(), 'hello')
  await two.flush()
  await one.close()
  await two.close()
})

/** The C library, with hints recorded and not given. */
function noting(): { libc: Libc; hints: string[] } {
  const library = libc()
  assert.ok(library)
  const hints: string[] = []
  const fadvise = async (_fd: number, offset: number, length: number, advice: number) =>
    void hints.push(`${offset} ${length} ${['', 'random', 'sequential', 'willneed', 'dontneed'][advice]}`)
  return { libc: { ...library, fadvise }, hints }
}

test('the kernel is told how the file will be read, and what to read ahead', needsLibc, async (t) => {
  const { path } = image(temporary(t), 8192)
  const { libc, hints } = noting()
  const device = await openDisk(path, { libc, fadvise: 'sequential' })
  await device.cache(4096, 1000)
  await device.close()
  assert.deepEqual(hints, ['0 0 sequential', '4096 1000 willneed'])
})

test('without the C library, a range is cached by reading it', async (t) => {
  const { path } = image(temporary(t), 8192)
  const device = await openDisk(path, { libc: undefined })
  assert.equal(device.can.cache, 'emulate')
  await device.cache(4096, 1000)
  await device.close()
})

test('cache=none drops the pages every 8 MiB, after a flush, and at the end', needsLibc, async (t) => {
  const { path } = image(temporary(t), mebibyte)
  const { libc, hints } = noting()
  const device = await openDisk(path, { libc, keepCached: false })
  const dropped = async (what: () => unknown) => {
    hints.length = 0
    await what()
    return hints.length
  }
  for (let count = 0; count < 4; count++) await device.write(0, Buffer.alloc(mebibyte), { fua: false })
  for (let count = 0; count < 3; count++) await readBytes(device, 0, mebibyte)
  assert.equal(await dropped(() => readBytes(device, 0, mebibyte - 1)), 0)
  assert.equal(await dropped(() => readBytes(device, 0, 1)), 1)
  assert.deepEqual(hints, ['0 0 dontneed'])
  assert.equal(await dropped(() => device.flush()), 1)
  assert.equal(await dropped(() => device.close()), 1)
})

test('a full file system is told to the client as it is', async (t) => {
  const directory = temporary(t)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', directory], { stdio: 'pipe' })
  } catch (error) {
    return t.skip(`no small file system can be mounted: ${error}`)
  }
  try {
    const path = join(directory, 'disk.img')
    writeFileSync(path, '')
    truncateSync(path, mebibyte)
    for (const options of [{}, { patience: impatience() }]) {
      const device = await openDisk(path, options)
      const write = async (length: number) => device.write(0, Buffer.alloc(length, 1), { fua: false })
      await assert.rejects(write(131_072), { code: 'ENOSPC' })
      await assert.rejects(write(mebibyte), { code: 'ENOSPC' })
      assert.equal((await readBytes(device, mebibyte - 1, 1))[0], 0)
      await device.close()
    }
  } finally {
    execFileSync('umount', [directory])
  }
})
