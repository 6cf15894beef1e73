import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { dataLength } from '../api/device.js'
import { definePlugin } from '../api/plugin.js'
import type { MemoryAdvice } from '../os/madvise.js'
import { bytesOf, deviceContract, openDevice, seeded } from '../testing/index.js'
import { SparseArray, type SparseArrayOptions } from './sparse-array.js'

const none = () => undefined
/** Does to small ranges what Linux does to whole pages, and records it. */
function fakeAdvice(calls: string[] = []): () => MemoryAdvice {
  const advice: MemoryAdvice = {
    address: () => 40,
    giveBack(bytes) {
      calls.push(`give back ${bytes.length}`)
      bytes.fill(0)
      return true
    },
    smallPages: (bytes) => void calls.push(`small pages ${bytes.length}`),
  }
  return () => advice
}
const shapes: [name: string, options: SparseArrayOptions][] = [
  ['one unit to a segment', { segmentBytes: 64, pageBytes: 4, advice: none }],
  ['one unit to a segment, with advice', { segmentBytes: 64, pageBytes: 4, advice: fakeAdvice() }],
  ['three units to a segment', { segmentBytes: 384, pageBytes: 8, advice: none }],
  ['three units to a segment, with advice', { segmentBytes: 384, pageBytes: 8, advice: fakeAdvice() }],
  ['advice that is refused', { segmentBytes: 384, pageBytes: 8 }],
]

for (const [name, options] of shapes) {
  test(`a sparse array meets the contract of a device: ${name}`, async () => {
    const size = 7001
    const plugin = definePlugin({
      name: 'sparse',
      description: 'for tests',
      params: {},
      setup() {
        const array = new SparseArray(size, options)
        return {
          open: () => ({
            size,
            can: { fastZero: true },
            read: (offset, length) => array.read(offset, length),
            write: (offset, data) => array.write(offset, data),
            window: (offset, length) => array.window(offset, length),
            release: (window) => array.release(window),
            zero: (offset, length) => array.zero(offset, length),
            trim: (offset, length) => array.zero(offset, length),
            extents: (offset, length) => array.extents(offset, length),
          }),
        }
      },
    })
    for (const seed of [1, 2, 3]) {
      const device = await openDevice(plugin())
      await deviceContract(device, { seed, steps: 2000 })
      await device.close()
    }
  })

  test(`a sparse array tells each written page from each that is zeroed: ${name}`, async () => {
    const size = 1001
    const page = options.pageBytes ?? 0
    const array = new SparseArray(size, options)
    const bytes = Buffer.alloc(size)
    const written = new Array<boolean>(Math.ceil(size / page)).fill(false)
    const random = seeded(1)
    for (let step = 0; step < 3000; step++) {
      const offset = random.below(size)
      const length = 1 + random.below(Math.min(size - offset, random.chance(0.1) ? size : 80))
      const pages = [...written.keys()].slice(Math.floor(offset / page), Math.ceil((offset + length) / page))
      if (random.chance(0.5)) {
        bytes.fill(1 + (step % 255), offset, offset + length)
        array.write(offset, bytes.subarray(offset, offset + length))
        for (const index of pages) written[index] = true
      } else {
        bytes.fill(0, offset, offset + length)
        await array.zero(offset, length)
        for (const index of pages)
          written[index] &&= bytes.subarray(index * page, (index + 1) * page).some((byte) => byte !== 0)
      }
      assert.deepEqual([...array.extents(0, size)], runsOf(written, page, size), `step ${step}`)
    }
    assert.ok(bytesOf(array.read(0, size)).equals(bytes))
  })
}

function runsOf(written: readonly boolean[], page: number, size: number) {
  const runs: { length: number; type: number }[] = []
  for (const [index, isData] of written.entries()) {
    const length = Math.min(page, size - index * page)
    const type = isData ? 0 : 3
    const last = runs.at(-1)
    if (last?.type === type) last.length += length
    else runs.push({ length, type })
  }
  return runs
}

test('extents of a sparse array begin and end where they are asked to', () => {
  const array = new SparseArray(1000, { segmentBytes: 64, pageBytes: 4, advice: none })
  array.write(100, Buffer.alloc(101, 1))
  assert.deepEqual(
    [...array.extents(90, 20)],
    [
      { length: 10, type: 3 },
      { length: 10, type: 0 },
    ],
  )
  assert.deepEqual([...array.extents(150, 30)], [{ length: 30, type: 0 }])
  // The last byte written, 200, lies in the page that ends at 204.
  assert.deepEqual(
    [...array.extents(199, 7)],
    [
      { length: 5, type: 0 },
      { length: 2, type: 3 },
    ],
  )
  assert.deepEqual([...array.extents(999, 1)], [{ length: 1, type: 3 }])
})

test('extents of a sparse array are found as they are taken', () => {
  const array = new SparseArray(2 ** 40)
  array.write(2 ** 30, Buffer.alloc(4096, 1))
  const runs = array.extents(0, 2 ** 40)
  assert.deepEqual(runs.next().value, { length: 2 ** 30, type: 3 })
  array.write(2 ** 30 + 4096, Buffer.alloc(4096, 1))
  assert.deepEqual(runs.next().value, { length: 8192, type: 0 })
  runs.return(undefined)
})

test('a sparse array of 8 PiB finds the few bytes that are written, and zeroes them', async () => {
  const size = Number.MAX_SAFE_INTEGER
  const array = new SparseArray(size)
  array.write(size - 1, Buffer.of(1))
  array.write(2 ** 50 - 1, Buffer.of(2, 3))
  array.write(0, Buffer.of(4))
  const last = size - (2 ** 53 - 4096)
  const expected = [
    { length: 4096, type: 0 },
    { length: 2 ** 50 - 8192, type: 3 },
    { length: 8192, type: 0 },
    { length: 2 ** 53 - 4096 - 2 ** 50 - 4096, type: 3 },
    { length: last, type: 0 },
  ]
  assert.deepEqual([...array.extents(0, size)], expected)
  assert.deepEqual([...bytesOf(array.read(2 ** 50 - 2, 4))], [0, 2, 3, 0])
  assert.equal(array.segments, 4)
  await array.zero(1, size - 1)
  assert.deepEqual([...array.extents(0, size)], [expected[0], { length: size - 4096, type: 3 }])
  await array.zero(0, size)
  assert.equal(array.segments, 0)
})

test('a sparse array reads views of its own memory, and shared zeroes where nothing is written', () => {
  const array = new SparseArray(1000, { segmentBytes: 64, pageBytes: 4, advice: none })
  array.write(60, Buffer.alloc(8, 1))
  const data = array.read(50, 100)
  assert.ok(Array.isArray(data))
  assert.deepEqual(
    data.map((part) => part.length),
    [14, 64, 22],
  )
  assert.equal(dataLength(data), 100)
  array.write(60, Buffer.alloc(8, 2))
  assert.equal(bytesOf(data)[10], 2)
  assert.ok(array.read(64, 4) instanceof Uint8Array)
})

test('a sparse array drops a segment in which nothing is written any more, however it was zeroed', async () => {
  const array = new SparseArray(1000, { segmentBytes: 128, pageBytes: 4, advice: none })
  array.write(100, Buffer.alloc(200, 1))
  assert.equal(array.segments, 3)
  await array.zero(128, 128)
  assert.equal(array.segments, 2)
  for (let at = 100; at < 300; at += 3) await array.zero(at, 3)
  assert.equal(array.segments, 0)
})

test('a sparse array gives back each unit of 16 pages once nothing in it is written', async () => {
  const calls: string[] = []
  const array = new SparseArray(1024, { segmentBytes: 256, pageBytes: 4, advice: fakeAdvice(calls) })
  array.write(0, Buffer.alloc(256, 1))
  calls.length = 0
  await array.zero(64, 60)
  assert.deepEqual(calls, [], 'one page of the unit is written yet')
  await array.zero(124, 4)
  assert.deepEqual(calls.splice(0), ['give back 64'])
  await array.zero(64, 64)
  assert.deepEqual(calls, [], 'there is nothing to give back')
  await array.zero(60, 132)
  assert.deepEqual(calls.splice(0), ['give back 128'])
  await array.zero(0, 1024)
  assert.deepEqual(calls.splice(0), ['give back 256'])
})

test('a sparse array asks for small pages, for many segments at once', () => {
  const calls: string[] = []
  const array = new SparseArray(1000, { segmentBytes: 256, pageBytes: 4, advice: fakeAdvice(calls) })
  for (let at = 0; at < 1000; at += 100) array.write(at, Buffer.of(1))
  assert.deepEqual(calls, ['small pages 1024'])
})

test('a sparse array never hands out again what was lent to a reader', async () => {
  const array = new SparseArray(1024, { segmentBytes: 64, pageBytes: 4, advice: none })
  array.write(0, Buffer.alloc(64, 1))
  const lent = array.read(0, 64)
  await array.zero(0, 64)
  for (let at = 0; at < 1024; at += 64) array.write(at, Buffer.alloc(64, 2))
  assert.ok(!bytesOf(lent).includes(2))
})

test('a sparse array without memory is a full disk, and what is in it stays', () => {
  let left = 3
  const allocate = (length: number) => {
    if (left-- === 0) throw new RangeError('Array buffer allocation failed')
    return new ArrayBuffer(length)
  }
  const array = new SparseArray(1024, {
    segmentBytes: 64,
    pageBytes: 4,
    slabBytes: 64,
    advice: none,
    allocate,
  })
  assert.throws(() => array.write(0, Buffer.alloc(256, 1)), {
    name: 'NbdError',
    code: 'ENOSPC',
    message: 'no memory for 64 bytes at 192: 192 bytes are taken already (Array buffer allocation failed)',
  })
  assert.ok(bytesOf(array.read(0, 192)).every((byte) => byte === 1))
  assert.deepEqual(
    [...array.extents(0, 1024)],
    [
      { length: 192, type: 0 },
      { length: 832, type: 3 },
    ],
  )
  left = 1
  array.write(192, Buffer.alloc(64, 1))
})

test('a sparse array lets any other error of an allocation pass', () => {
  const allocate = () => {
    throw new TypeError('not a matter of memory')
  }
  const array = new SparseArray(1024, { allocate })
  assert.throws(() => array.write(0, Buffer.of(1)), TypeError)
})

test('a sparse array without advice leaves dropped segments to the garbage collector', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const buffers: WeakRef<ArrayBuffer>[] = []
  const allocate = (length: number) => {
    const buffer = new ArrayBuffer(length)
    buffers.push(new WeakRef(buffer))
    return buffer
  }
  const array = new SparseArray(1024, {
    segmentBytes: 64,
    pageBytes: 4,
    slabBytes: 64,
    advice: none,
    allocate,
  })
  for (let at = 0; at < 1024; at += 64) array.write(at, Buffer.of(1))
  await array.zero(64, 960)
  const held = () => buffers.filter((buffer) => buffer.deref()).length
  for (let tries = 0; tries < 100 && held() > 1; tries++) {
    await setImmediate()
    collect()
  }
  assert.deepEqual([buffers.length, held(), array.segments], [16, 1, 1])
})

test('a sparse array refuses segments that are not made of whole units', () => {
  assert.throws(
    () => new SparseArray(1, { segmentBytes: 100, pageBytes: 4 }),
    /100 bytes is not a multiple of 16 pages of 4/,
  )
  assert.throws(
    () => new SparseArray(1, { segmentBytes: 96, pageBytes: 3 }),
    /not a multiple of 16 pages of 3/,
  )
})

/** Whole units of 64 bytes, four to a segment. */
const units = { segmentBytes: 256, pageBytes: 4, advice: none }

function lent(array: SparseArray, offset: number, length: number): Uint8Array {
  return array.window(offset, length) ?? assert.fail(`no window of ${length} bytes at ${offset}`)
}

test('a window lies beside the array: nothing of it is seen before it is written', () => {
  const array = new SparseArray(1000, units)
  array.write(60, Buffer.alloc(10, 1))
  const before = [...array.extents(0, 1000)]
  const window = lent(array, 64, 64).fill(2)
  assert.deepEqual([...array.extents(0, 1000)], before)
  assert.equal(bytesOf(array.read(60, 72)).toString('hex'), `${'01'.repeat(10)}${'00'.repeat(62)}`)
  array.write(64, window)
  assert.equal(
    bytesOf(array.read(60, 72)).toString('hex'),
    `${'01'.repeat(4)}${'02'.repeat(64)}${'00'.repeat(4)}`,
  )
})

test('a window that is written becomes a part of the array, and is not copied', () => {
  const array = new SparseArray(1000, units)
  const window = lent(array, 64, 128).fill(2)
  array.write(64, window)
  const read = array.read(64, 128)
  assert.ok(read instanceof Uint8Array)
  assert.deepEqual([read.buffer, read.byteOffset], [window.buffer, window.byteOffset])
})

test('the memory that a window was exchanged for is lent again, unless a reader may hold it', () => {
  const array = new SparseArray(1000, units)
  const first = lent(array, 0, 64).fill(1)
  array.write(0, first)
  const second = lent(array, 0, 64).fill(2)
  array.write(0, second)
  assert.equal(lent(array, 64, 64).byteOffset, first.byteOffset, 'nobody has read the first')
  const held = array.read(0, 64)
  const third = lent(array, 0, 64).fill(3)
  array.write(0, third)
  assert.ok(held instanceof Uint8Array && held.byteOffset === second.byteOffset)
  assert.ok(bytesOf(held).equals(bytesOf(array.read(0, 64))), 'the third was copied to where the second is')
  array.release(third)
  lent(array, 128, 64).fill(4)
  assert.ok(bytesOf(held).every((byte) => byte === 3))
})

test('a window that was abandoned changes nothing, and its memory is lent again', () => {
  const array = new SparseArray(1000, units)
  array.write(0, Buffer.alloc(256, 1))
  const abandoned = lent(array, 64, 64).fill(2)
  array.zero(64, 32)
  array.write(96, Buffer.alloc(8, 3))
  array.release(abandoned)
  abandoned.fill(4)
  assert.equal(
    bytesOf(array.read(64, 64)).toString('hex'),
    `${'00'.repeat(32)}${'03'.repeat(8)}${'01'.repeat(24)}`,
  )
  assert.equal(lent(array, 0, 64).byteOffset, abandoned.byteOffset)
})

test('a window into a segment that was zeroed meanwhile is written, and leaves what came later alone', () => {
  for (const advice of [none, fakeAdvice()]) {
    const array = new SparseArray(1000, { ...units, advice })
    array.write(0, Buffer.alloc(256, 1))
    const early = lent(array, 0, 128)
    const late = lent(array, 128, 128)
    array.zero(0, 256)
    assert.equal(array.segments, 0)
    array.write(0, Buffer.alloc(256, 5))
    early.fill(2)
    late.fill(3)
    assert.ok(bytesOf(array.read(0, 256)).every((byte) => byte === 5))
    array.write(128, late)
    assert.equal(bytesOf(array.read(126, 4)).toString('hex'), '05050303')
  }
})

test('two windows of one range are two writes: the one that is written last stays', () => {
  const array = new SparseArray(1000, units)
  const [one, other] = [lent(array, 0, 256).fill(1), lent(array, 64, 64).fill(2)]
  array.write(64, other)
  array.write(0, one)
  assert.ok(bytesOf(array.read(0, 256)).every((byte) => byte === 1))
})

test('a range that is not of whole units, or not of one segment, has no window', () => {
  const array = new SparseArray(1000, units)
  for (const [offset, length] of [
    [60, 64],
    [0, 60],
    [0, 32],
    [0, 192],
    [192, 128],
    [0, 512],
  ] as const)
    assert.equal(array.window(offset, length), undefined, `${length} bytes at ${offset}`)
})

test('a window that is written elsewhere, or in part, is copied', () => {
  const array = new SparseArray(1000, units)
  const window = lent(array, 0, 64).fill(1)
  array.write(10, window)
  array.write(300, window.subarray(0, 8))
  array.release(window)
  window.fill(2)
  assert.equal(bytesOf(array.read(8, 68)).toString('hex'), `0000${'01'.repeat(64)}0000`)
  assert.equal(bytesOf(array.read(299, 10)).toString('hex'), `00${'01'.repeat(8)}00`)
})

test('a window for which there is no memory is none, and the write that follows says so', () => {
  const allocate = () => {
    throw new RangeError('no memory')
  }
  const array = new SparseArray(1000, { ...units, allocate })
  assert.equal(array.window(0, 64), undefined)
  assert.throws(() => array.write(0, Buffer.alloc(64)), { code: 'ENOSPC' })
})
