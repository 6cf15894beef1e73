import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PolledReads } from './polled-reads.js'

/** A disk that answers on demand, with an event loop whose turns take 0.1 ms. */
function slowDisk() {
  const waiting: (() => void)[] = []
  const loop = { ms: 1000, now: () => loop.ms, next: (callback: () => void) => void waiting.push(callback) }
  /** The cached bytes of each page of 4 KiB. */
  const cached = new Map<number, number>()
  const disk = {
    size: 2 ** 20,
    asks: 0,
    failure: undefined as Error | undefined,
    preadNoWait(_fd: number, target: Uint8Array, offset: number): number {
      disk.asks++
      if (disk.failure) throw disk.failure
      if (offset === disk.size) return 0
      const page = Math.floor(offset / 4096)
      const count = Math.min(target.length, (cached.get(page) ?? 0) - (offset % 4096))
      if (count <= 0) return -1
      target.fill(page, 0, count)
      return count
    },
  }
  const reads = new PolledReads(disk, loop)
  const begin = (page: number, done = 0) => {
    const target = new Uint8Array(4096)
    const read = { target, result: undefined as number | undefined, polled: true }
    const promise = reads.finish(3, target, 4096 * page, done)
    read.polled = promise !== undefined
    void promise?.then((all) => {
      read.result = all
    })
    return read
  }
  const turn = async (times = 1) => {
    for (let count = 0; count < times; count++) {
      loop.ms += 0.1
      for (const callback of waiting.splice(0)) callback()
    }
    await Promise.resolve()
    return waiting.length > 0
  }
  return { loop, disk, cached, begin, turn }
}

test('a read ends with the turn of the event loop in which its page is there', async () => {
  const { cached, begin, turn } = slowDisk()
  const read = begin(7)
  assert.equal(await turn(3), true)
  assert.equal(read.result, undefined)
  cached.set(7, 4096)
  assert.equal(await turn(), false)
  assert.equal(read.result, 4096)
  assert.ok(read.target.every((byte) => byte === 7))
})

test('what had come before is not asked for again, and may come piece by piece', async () => {
  const { cached, begin, turn } = slowDisk()
  const read = begin(7, 1000)
  cached.set(7, 3000)
  await turn()
  assert.equal(read.result, undefined)
  cached.set(7, 4096)
  await turn()
  assert.equal(read.result, 4096)
  assert.deepEqual([read.target[999], read.target[1000], read.target[4095]], [0, 7, 7])
})

test('reads end in the order in which their pages come', async () => {
  const { cached, begin, turn } = slowDisk()
  const reads = [begin(1), begin(2), begin(3)]
  cached.set(2, 4096)
  await turn()
  assert.deepEqual(
    reads.map(({ result }) => result),
    [undefined, 4096, undefined],
  )
  cached.set(1, 4096).set(3, 4096)
  await turn()
  assert.deepEqual(
    reads.map(({ result }) => result),
    [4096, 4096, 4096],
  )
})

test('a read that is late is given up alone while the disk answers others', async () => {
  const { cached, begin, turn } = slowDisk()
  const late = begin(100)
  for (let page = 0; page < 6; page++) {
    const read = begin(page)
    cached.set(page, 4096)
    await turn()
    assert.equal(read.result, 4096)
  }
  assert.equal(late.result, 0)
  assert.ok(begin(6).polled)
})

test('a disk that answers nothing for half a millisecond is left alone for twenty times as long', async () => {
  const { loop, disk, begin, turn } = slowDisk()
  const reads = [begin(1), begin(2, 5)]
  assert.equal(await turn(5), true)
  assert.equal(await turn(), false)
  assert.deepEqual(
    reads.map(({ result }) => result),
    [0, 5],
  )
  assert.equal(disk.asks, 12)
  loop.ms += 9.9
  assert.equal(begin(3).polled, false)
  loop.ms += 0.2
  assert.equal(begin(4).polled, true)
})

test('a turn that takes long is not held against the disk', async () => {
  const { loop, cached, begin, turn } = slowDisk()
  const read = begin(1)
  loop.ms += 50
  assert.equal(await turn(), true)
  cached.set(1, 4096)
  await turn()
  assert.equal(read.result, 4096)
  assert.ok(begin(2).polled)
})

test('a read that comes to the end of the file tells how far it came', async () => {
  const { disk, cached, begin, turn } = slowDisk()
  disk.size = 4096 + 100
  cached.set(1, 100)
  const read = begin(1)
  assert.equal(await turn(), true)
  assert.equal(await turn(), false)
  assert.equal(read.result, 100)
})

test('a read that cannot be asked for again goes on elsewhere', async () => {
  const { disk, begin, turn } = slowDisk()
  const read = begin(2, 10)
  disk.failure = new Error('input/output error')
  assert.equal(await turn(), false)
  assert.equal(read.result, 10)
})
