import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Device, type Extent, HOLE, ZERO } from '../../api/device.js'
import { isPromise } from '../../api/maybe.js'
import { definePlugin } from '../../api/plugin.js'
import { type Libc, libc, whyNoLibc } from '../../os/libc.js'
import { noPatience, Patience } from '../../os/patience.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import { type DiskOptions, fileDisk } from './disk.js'
import { openPath } from './open-file.js'

const needsLibc = { skip: whyNoLibc() ?? false }
const mebibyte = 2 ** 20
const kibibytes64 = 65536
const hole = HOLE | ZERO

/** A file of 1 MiB with data in the given ranges. */
function image(t: TestContext, ranges: readonly (readonly [offset: number, length: number])[]): string {
  const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-holes-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'disk.img')
  const fd = openSync(path, 'w')
  ftruncateSync(fd, mebibyte)
  for (const [offset, length] of ranges) writeSync(fd, Buffer.alloc(length, 1), 0, length, offset)
  closeSync(fd)
  return path
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
          patience: new Patience(() => 0),
          polledReads: undefined,
          ...options,
        }),
    }),
  })
  return openDevice(plugin())
}

/** The real C library, with the given changes. */
function libcWith(changes: Partial<Libc>): { libc: Libc } {
  const library = libc()
  assert.ok(library)
  return { libc: { ...library, ...changes } }
}

/** A library whose `fallocate` claims to support the given modes, and records the modes requested. */
function supporting(...modes: number[]): { options: Partial<DiskOptions>; asked: number[] } {
  const asked: number[] = []
  const fallocate = async (_fd: number, mode: number) => {
    asked.push(mode)
    if (!modes.includes(mode)) throw Object.assign(new Error('unsupported'), { code: 'EOPNOTSUPP' })
  }
  return { options: libcWith({ fallocate }), asked }
}
const [allocate, punchHole, zeroRange] = [0, 3, 16]

test('extents are the holes and the data of the file', needsLibc, async (t) => {
  const path = image(t, [
    [kibibytes64, kibibytes64],
    [4 * kibibytes64, 2 * kibibytes64],
  ])
  const device = await openDisk(path)
  const runs = [
    { length: kibibytes64, type: hole },
    { length: kibibytes64, type: 0 },
    { length: 2 * kibibytes64, type: hole },
    { length: 2 * kibibytes64, type: 0 },
    { length: 10 * kibibytes64, type: hole },
  ]
  assert.deepEqual([...(await device.extents(0, mebibyte))], runs)
  // From within one run to within another: later runs are not looked up.
  assert.deepEqual(
    [...(await device.extents(100, 2 * kibibytes64))],
    [{ length: kibibytes64 - 100, type: hole }, ...runs.slice(1, 3)],
  )
  await device.close()
})

test('extents of a file with no hole are one run of data', needsLibc, async (t) => {
  const device = await openDisk(image(t, [[0, mebibyte]]))
  assert.deepEqual([...(await device.extents(5, 10))], [{ length: mebibyte - 5, type: 0 }])
  await device.close()
})

test('what is missing of a file that has shrunk is not called a hole', needsLibc, async (t) => {
  const path = image(t, [[0, kibibytes64]])
  const device = await openDisk(path)
  truncateSync(path, 2 * kibibytes64)
  assert.deepEqual(
    [...(await device.extents(0, mebibyte))],
    [
      { length: kibibytes64, type: 0 },
      { length: kibibytes64, type: hole },
      { length: 14 * kibibytes64, type: 0 },
    ],
  )
  assert.deepEqual([...(await device.extents(mebibyte / 2, 10))], [{ length: mebibyte / 2, type: 0 }])
  await device.close()
})

test('a hole punched while extents are looked up gives no empty run', needsLibc, async (t) => {
  const data = [0, 8192]
  const holes = [0, mebibyte]
  const options = libcWith({ seekData: () => data.shift(), seekHole: () => holes.shift() })
  const device = await openDisk(image(t, []), options)
  assert.deepEqual(
    [...(await device.extents(0, mebibyte))],
    [
      { length: 8192, type: hole },
      { length: mebibyte - 8192, type: 0 },
    ],
  )
  await device.close()
})

test(
  'where a call may wait, extents are looked up on another thread, a few at a time',
  needsLibc,
  async (t) => {
    const ranges = Array.from({ length: 40 }, (_, index) => [index * 16384, 4096] as const)
    const path = image(t, ranges)
    const onLoop = () => assert.fail('it is on the event loop')
    const slow = { ...libcWith({ seekData: onLoop, seekHole: onLoop }), patience: noPatience }
    const [device, quick] = [await openDisk(path, slow), await openDisk(path)]
    const expected = [...(await quick.extents(0, mebibyte))]
    const found: Extent[] = []
    for (let at = 0; at < mebibyte; ) {
      const runs = [...(await device.extents(at, mebibyte - at))]
      assert.ok(runs.length > 0 && runs.length < 20, `${runs.length}`)
      for (const { length } of runs) at += length
      found.push(...runs)
    }
    assert.deepEqual(found, expected)
    await device.close()
    await quick.close()
  },
)

test('a look-up that waited on the event loop sends the next to another thread', needsLibc, async (t) => {
  const path = image(t, [
    [0, 4096],
    [65536, 4096],
  ])
  let now = 0
  const library = libc() ?? assert.fail()
  const seekHole: Libc['seekHole'] = (fd, offset) => {
    now += 10
    return library.seekHole(fd, offset)
  }
  const device = await openDisk(path, { ...libcWith({ seekHole }), patience: new Patience(() => now) })
  // Runs found so far are returned at once. The client asks again for the rest.
  const first = device.extents(0, mebibyte)
  assert.ok(!isPromise(first))
  assert.deepEqual([...first], [{ length: 4096, type: 0 }])
  const rest = device.extents(4096, mebibyte - 4096)
  assert.ok(isPromise(rest))
  // The number of runs depends on the time it takes: at least one.
  assert.deepEqual([...(await rest)][0], { length: 61440, type: hole })
  await device.close()
})

test('zero and trim give blocks back, unless the client wants to keep them', needsLibc, async (t) => {
  const path = image(t, [[0, mebibyte]])
  const device = await openDisk(path)
  const blocks = async () => {
    await device.flush()
    return statSync(path).blocks
  }
  const full = await blocks()
  await device.zero(0, mebibyte / 2, { mayTrim: false, fast: true, fua: false })
  const kept = await blocks()
  await device.zero(0, mebibyte / 2, { mayTrim: true, fast: true, fua: true })
  const punched = await blocks()
  await device.trim(mebibyte / 2, mebibyte / 2, { fua: true })
  const trimmed = await blocks()
  assert.ok(kept >= full && punched < kept && trimmed < punched, `${[full, kept, punched, trimmed]}`)
  assert.ok((await readBytes(device, 0, mebibyte)).every((byte) => byte === 0))
  await device.close()
})

test('zeroes are written where nothing else is supported, and that is tried once', needsLibc, async (t) => {
  const { options, asked } = supporting()
  const device = await openDisk(image(t, [[0, mebibyte]]), options)
  for (const mayTrim of [true, false]) {
    await device.zero(100, 700_000, { mayTrim, fast: false, fua: true })
    await assert.rejects(async () => device.zero(0, 10, { mayTrim, fast: true, fua: false }), {
      code: 'ENOTSUP',
      message: 'zero 10 at 0: the zeroes have to be written',
    })
  }
  await device.trim(0, 100, { fua: false })
  assert.deepEqual(asked, [punchHole, zeroRange])
  const bytes = await readBytes(device, 0, mebibyte)
  assert.ok(bytes.subarray(100, 700_100).every((byte) => byte === 0))
  assert.deepEqual([bytes[99], bytes[700_100]], [1, 1])
  await device.close()
})

test(
  'a hole is punched and allocated again where zeroing in place is not supported',
  needsLibc,
  async (t) => {
    const { options, asked } = supporting(punchHole, allocate)
    const device = await openDisk(image(t, []), options)
    await device.zero(0, 10, { mayTrim: false, fast: true, fua: false })
    await device.zero(0, 10, { mayTrim: false, fast: false, fua: false })
    await device.zero(0, 10, { mayTrim: true, fast: false, fua: false })
    assert.deepEqual(asked, [zeroRange, punchHole, allocate, punchHole, allocate, punchHole])
    await device.close()
  },
)

test('an error other than that of a missing feature reaches the client', needsLibc, async (t) => {
  const fallocate = async () => {
    throw Object.assign(new Error('the disk is on fire'), { code: 'EIO' })
  }
  const device = await openDisk(image(t, []), libcWith({ fallocate }))
  const flags = { mayTrim: true, fast: false, fua: false }
  await assert.rejects(async () => device.zero(0, 10, flags), { code: 'EIO' })
  await assert.rejects(async () => device.trim(0, 10, flags), { code: 'EIO' })
  await device.close()
})

test('without the C library zeroes are written, and holes are neither seen nor made', async (t) => {
  const device = await openDisk(image(t, [[0, 8192]]), { libc: undefined })
  assert.deepEqual([device.can.trim, device.can.extents, device.can.zero], [false, false, 'native'])
  await device.zero(1, 8190, { mayTrim: true, fast: false, fua: true })
  await assert.rejects(async () => device.zero(0, 10, { mayTrim: true, fast: true, fua: false }), {
    code: 'ENOTSUP',
  })
  const bytes = await readBytes(device, 0, 8192)
  assert.deepEqual([bytes[0], bytes[1], bytes[8190], bytes[8191]], [1, 0, 0, 1])
  await device.close()
})

test('a block device is served whole, with trim and zero', needsLibc, async (t) => {
  const path = image(t, [[0, mebibyte]])
  let loop: string
  try {
    loop = execFileSync('losetup', ['--find', '--show', path], { stdio: 'pipe' }).toString().trim()
  } catch (error) {
    return t.skip(`no loop device can be made: ${error}`)
  }
  t.after(() => execFileSync('losetup', ['--detach', loop]))
  const without = await openDisk(loop, { libc: undefined })
  assert.equal(without.size, mebibyte)
  await without.close()

  const device = await openDisk(loop)
  assert.equal(device.size, mebibyte)
  assert.equal(typeof device.rotational, 'boolean')
  assert.equal(device.can.extents, false)
  await device.zero(512, 1024, { mayTrim: false, fast: false, fua: true })
  await device.zero(5, 600, { mayTrim: true, fast: false, fua: false })
  const bytes = await readBytes(device, 0, 4096)
  assert.deepEqual([bytes[4], bytes[5], bytes[1535], bytes[1536]], [1, 0, 0, 1])
  // The kernel may have to write the zeroes: only a hole is sure to be fast.
  await assert.rejects(async () => device.zero(0, 4096, { mayTrim: false, fast: true, fua: false }), {
    code: 'ENOTSUP',
  })
  await device.trim(mebibyte / 2, mebibyte / 2, { fua: true })
  await device.trim(5, 5, { fua: false })
  await deviceContract(device)
  await device.close()
})
