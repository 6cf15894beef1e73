import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Device, Extent } from '../api/device.js'
import { isPromise } from '../api/maybe.js'
import { descriptorsMax } from '../protocol/limits.js'
import { blockStatus, decodeStatusPayload, type StatusRange } from './block-status.js'

const GiB = 2 ** 30

/** Returns the descriptors of one context. `runs` holds alternating lengths and types. */
async function status(
  runs: number[] | Iterable<Extent>,
  range: Partial<StatusRange> = {},
): Promise<number[]> {
  const extents = Array.isArray(runs) ? pairs(runs) : (runs as Iterable<Extent>)
  const whole: StatusRange = { offset: 0, length: 1000, size: 1000, one: false, mode: 'structured', ...range }
  const results = await blockStatus(() => extents, [{ id: 1, name: 'x-a:b' }], whole)
  return results[0] ?? []
}

function pairs(numbers: readonly number[]): Extent[] {
  return numbers.flatMap((length, index) =>
    index % 2 === 0 ? [{ length, type: numbers[index + 1] ?? 0 }] : [],
  )
}

describe('descriptors', () => {
  test('follow the runs', async () =>
    assert.deepEqual(await status([300, 0, 200, 3, 500, 0]), [300, 0, 200, 3, 500, 0]))

  test('join neighbours of one type', async () =>
    assert.deepEqual(await status([100, 0, 200, 0, 200, 3, 100, 3, 400, 0]), [300, 0, 300, 3, 400, 0]))

  test('may end early, where the device knows no more', async () =>
    assert.deepEqual(await status([300, 0]), [300, 0]))

  test('may go beyond the range, and not beyond the disk', async () => {
    assert.deepEqual(await status([400, 0, 5000, 3], { length: 500, size: 10_000 }), [400, 0, 5000, 3])
    assert.deepEqual(await status([400, 0, 5000, 3], { length: 500 }), [400, 0, 600, 3])
    assert.deepEqual(await status([5000, 3], { offset: 900, length: 50 }), [100, 3])
  })

  test('end with the run in which the range ends', async () =>
    assert.deepEqual(await status([500, 0, 100, 3], { length: 500 }), [500, 0]))

  test('do not ask a generator for more than the range', async () => {
    let given = 0
    function* endless(): Generator<Extent> {
      for (;;) yield { length: 100, type: given++ & 1 }
    }
    assert.equal((await status(endless(), { length: 500 })).length, 10)
    assert.equal(given, 5)
  })

  test('are no more than the limit, and the client comes back for the rest', async () => {
    function* crumbs(): Generator<Extent> {
      for (let type = 0; ; type ^= 1) yield { length: 1, type }
    }
    const size = 4 * descriptorsMax
    const descriptors = await status(crumbs(), { length: size, size })
    assert.equal(descriptors.length, 2 * descriptorsMax)
    assert.ok(descriptors.every((value, index) => index % 2 === 1 || value === 1))
  })

  test('of many runs are taken in turns of the event loop, for each context', async () => {
    let given = 0
    function* slow(): Generator<Extent> {
      for (; given < 200; given++) {
        const until = performance.now() + 0.2
        while (performance.now() < until);
        yield { length: 1, type: given & 1 }
      }
    }
    const contexts = [1, 2].map((id) => ({ id, name: `x-a:${id}` }))
    const range: StatusRange = { offset: 0, length: 1000, size: 1000, one: false, mode: 'structured' }
    const pending = blockStatus(slow, contexts, range)
    assert.ok(isPromise(pending))
    await new Promise((resolve) => setImmediate(resolve))
    assert.ok(given < 200)
    const [first = []] = await pending
    assert.equal(first.length, 400)
  })

  test('of a generator that is closed when there is enough', async () => {
    let closed = false
    function* runs(): Generator<Extent> {
      try {
        for (;;) yield { length: 100, type: 0 }
      } finally {
        closed = true
      }
    }
    await status(runs(), { length: 50 })
    assert.ok(closed)
  })

  test('join a million runs of one type into one', async () => {
    function* crumbs(): Generator<Extent> {
      for (;;) yield { length: 1, type: 3 }
    }
    assert.deepEqual(await status(crumbs(), { length: 2 ** 20, size: 2 ** 20 }), [2 ** 20, 3])
  })
})

describe('one descriptor, where the client asks for no more', () => {
  test('is the first run', async () =>
    assert.deepEqual(await status([300, 0, 200, 3], { one: true }), [300, 0]))

  test('joins neighbours of one type', async () =>
    assert.deepEqual(await status([300, 0, 200, 0, 500, 3], { one: true }), [500, 0]))

  test('is not longer than the range', async () => {
    assert.deepEqual(await status([5000, 0], { one: true, length: 500, size: 10_000 }), [500, 0])
    assert.deepEqual(await status([400, 0, 400, 0], { one: true, length: 500, size: 10_000 }), [500, 0])
  })
})

describe('a run of more than 32 bits', () => {
  const size = 100 * GiB
  const cut = 0xffff0000

  test('is cut to a multiple of every block size in a compact reply', async () => {
    assert.deepEqual(await status([size, 3], { length: GiB, size }), [cut, 3])
    assert.equal(cut % 65536, 0)
  })

  test('is the last of a compact reply, so that nothing is said of what follows the cut', async () =>
    assert.deepEqual(await status([GiB, 0, 50 * GiB, 3, GiB, 0], { length: 0xffffffff, size }), [
      GiB,
      0,
      cut,
      3,
    ]))

  test('that is put together from shorter ones is cut too', async () =>
    assert.deepEqual(await status([3 * GiB, 3, 3 * GiB, 3], { length: 0xffffffff, size }), [cut, 3]))

  test('is whole in an extended reply', async () => {
    assert.deepEqual(await status([size, 3], { length: GiB, size, mode: 'extended' }), [size, 3])
    const runs = [50 * GiB, 0, 50 * GiB, 3]
    assert.deepEqual(await status(runs, { length: size, size, mode: 'extended' }), runs)
  })

  test('does not overflow where all runs are as long as they can be', async () => {
    const longest = Number.MAX_SAFE_INTEGER
    const runs = [longest, 3, longest, 3]
    const range = { length: longest, size: longest, mode: 'extended' } as const
    assert.deepEqual(await status(runs, range), [longest, 3])
  })
})

describe('several contexts', () => {
  const contexts = [1, 2].map((id) => ({ id, name: `x-a:${id}` }))
  const range: StatusRange = { offset: 5, length: 10, size: 100, one: false, mode: 'structured' }

  test('are asked one after the other, each for the whole range', async () => {
    const events: string[] = []
    const extents: Device['extents'] = async (offset, length, context = '') => {
      events.push(`${context} asked for ${length} at ${offset}`)
      await Promise.resolve()
      events.push(`${context} answered`)
      return [{ length, type: Number(context.at(-1)) }]
    }
    assert.deepEqual(await blockStatus(extents, contexts, range), [
      [10, 1],
      [10, 2],
    ])
    assert.deepEqual(events, [
      ...['x-a:1 asked for 10 at 5', 'x-a:1 answered'],
      ...['x-a:2 asked for 10 at 5', 'x-a:2 answered'],
    ])
  })

  test('are answered at once where each is', () => {
    const extents: Device['extents'] = (_offset, length) => [{ length, type: 0 }]
    assert.equal(isPromise(blockStatus(extents, contexts, range)), false)
  })

  test('fail where one of them does', async () => {
    const extents: Device['extents'] = (_offset, length, context) =>
      context === 'x-a:2' ? Promise.reject(new Error('torn')) : [{ length, type: 0 }]
    const answer = blockStatus(extents, contexts, range)
    await assert.rejects(async () => answer, new Error('torn'))
  })
})

describe('the payload of a block status request', () => {
  const payload = (length: bigint, ...ids: number[]) => {
    const bytes = Buffer.alloc(8 + 4 * ids.length)
    bytes.writeBigUInt64BE(length)
    for (const [index, id] of ids.entries()) bytes.writeUInt32BE(id, 8 + 4 * index)
    return bytes
  }

  test('is a length of 64 bits and ids of 32', () =>
    assert.deepEqual(decodeStatusPayload(payload(2n ** 33n, 2, 0xffffffff)), {
      length: 2 ** 33,
      ids: [2, 0xffffffff],
    }))

  test('may say a length that no number holds, which is beyond every disk', () =>
    assert.equal(decodeStatusPayload(payload(2n ** 63n, 1))?.length, Number.POSITIVE_INFINITY))

  test('is wrong where it ends in the middle, or has no id', () => {
    const whole = payload(512n, 1, 2)
    for (let length = 0; length < whole.length; length++)
      if (length !== 12)
        assert.equal(decodeStatusPayload(whole.subarray(0, length)), undefined, `${length} bytes`)
  })
})
