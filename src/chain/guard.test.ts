import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Data, Extent } from '../api/device.js'
import {
  type Boundary,
  guardCache,
  guardExtents,
  guardFlush,
  guardRange,
  guardRead,
  guardWindow,
  guardWrite,
} from './guard.js'
import { Running } from './running.js'

const boundary = (): Boundary & { running: Running } => ({
  layer: 'disk',
  size: 1000,
  running: new Running(),
})
const alloc = (length: number) => new Uint8Array(length)
const flags = { fua: false }

const outside: [offset: number, length: number][] = [
  [1000, 1],
  [999, 2],
  [0, 1001],
  [-1, 1],
  [0, 0],
  [500, -1],
  [Number.NaN, 1],
  [0, Number.NaN],
  [Number.POSITIVE_INFINITY, 1],
  [2 ** 53 - 1, 1],
]

describe('a range beyond the device never reaches it', () => {
  const never = (): never => assert.fail('it was called')
  const operations: [name: string, run: (offset: number, length: number) => unknown][] = [
    ['read', (offset, length) => guardRead(boundary(), never)(offset, length, alloc)],
    ['window', (offset, length) => guardWindow(boundary(), never)(offset, length)],
    ['trim', (offset, length) => guardRange(boundary(), 'trim', never)(offset, length, flags)],
    ['zero', (offset, length) => guardRange(boundary(), 'zero', never)(offset, length, flags)],
    ['cache', (offset, length) => guardCache(boundary(), never)(offset, length)],
    ['extents', (offset, length) => guardExtents(boundary(), never)(offset, length)],
  ]
  for (const [name, run] of operations)
    test(name, () => {
      for (const [offset, length] of outside)
        assert.throws(() => run(offset, length), {
          message: `disk: asked to ${name} ${length} bytes at ${offset}: the device ends at 1000`,
        })
    })

  test('write', () => {
    const write = guardWrite(boundary(), never)
    assert.throws(() => write(999, new Uint8Array(2), flags), {
      message: 'disk: asked to write 2 bytes at 999: the device ends at 1000',
    })
    assert.throws(() => write(0, new Uint8Array(0), flags), /asked to write 0 bytes at 0/)
  })
})

test('a range that ends where the device does is passed on', () => {
  const calls: unknown[] = []
  const note = (...of: unknown[]) => void calls.push(of)
  guardWrite(boundary(), (offset, data) => note('write', offset, data.length))(999, alloc(1), flags)
  guardRange(boundary(), 'trim', (offset: number, length: number) => note('trim', offset, length))(
    0,
    1000,
    flags,
  )
  guardCache(boundary(), (offset, length) => note('cache', offset, length))(1, 999)
  assert.deepEqual(calls, [
    ['write', 999, 1],
    ['trim', 0, 1000],
    ['cache', 1, 999],
  ])
})

describe('what read returned', () => {
  const good: [means: string, data: Data][] = [
    ['one view', new Uint8Array(10)],
    ['several views', [new Uint8Array(4), new Uint8Array(6)]],
    ['views with an empty one among them', [new Uint8Array(10), new Uint8Array(0)]],
  ]
  for (const [means, data] of good)
    test(`is passed on as it is: ${means}`, async () => {
      assert.equal(guardRead(boundary(), () => data)(0, 10, alloc), data)
      assert.equal(await guardRead(boundary(), async () => data)(0, 10, alloc), data)
    })

  const bad: [means: string, data: unknown, got: string][] = [
    ['too little', new Uint8Array(9), '9 bytes'],
    ['too much', new Uint8Array(11), '11 bytes'],
    ['too little in several views', [new Uint8Array(4), new Uint8Array(5)], '9 bytes'],
    ['no views', [], '0 bytes'],
    ['nothing', undefined, 'undefined'],
    ['null', null, 'object'],
    ['a string', '0123456789', 'string'],
    ['an ArrayBuffer', new ArrayBuffer(10), 'object'],
    ['a DataView', new DataView(new ArrayBuffer(10)), 'object'],
    ['an array of words', new Uint16Array(10), 'object'],
  ]
  for (const [means, data, got] of bad)
    test(`fails where it is ${means}`, async () => {
      const message = `disk: read 10 at 5 returned ${got}`
      assert.throws(() => guardRead(boundary(), () => data as Data)(5, 10, alloc), { message })
      const later = guardRead(boundary(), async () => data as Data)(5, 10, alloc)
      await assert.rejects(async () => later, { message })
    })

  for (const [means, data] of [
    ['strings', ['01234', '56789']],
    ['numbers', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
    ['arrays of words', [new Uint16Array(10)]],
  ] as const)
    test(`fails where it is an array of ${means}`, () => {
      const read = guardRead(boundary(), () => data as unknown as Data)
      assert.throws(() => read(5, 10, alloc), /^Error: disk: read 10 at 5 returned/)
    })
})

describe('what extents returned', () => {
  const runsOf = async (runs: unknown) => {
    const guarded = guardExtents(boundary(), () => runs as Iterable<Extent>)
    return [...(await guarded(0, 1000))]
  }

  test('is passed on, also where it stops early or goes beyond the end', async () => {
    for (const runs of [[{ length: 1, type: 3 }], [{ length: 10 ** 9, type: 0 }]])
      assert.deepEqual(await runsOf(runs), runs)
  })

  test('may be a generator, which is asked for no more than is taken', async () => {
    let given = 0
    function* endless() {
      for (;;) {
        given++
        yield { length: 1, type: given & 1 }
      }
    }
    const runs = await guardExtents(boundary(), endless)(0, 1000)
    for (const run of runs) if (run.type === 0) break
    assert.equal(given, 2)
  })

  test('may be promised', async () => {
    const runs = await guardExtents(boundary(), async () => [{ length: 5, type: 0 }])(0, 5)
    assert.deepEqual([...runs], [{ length: 5, type: 0 }])
  })

  test('fails where it is no run at all', () =>
    assert.rejects(runsOf([]), { message: 'disk: extents returned no run' }))

  for (const run of [
    { length: 0, type: 0 },
    { length: -1, type: 0 },
    { length: 0.5, type: 0 },
    { length: Number.POSITIVE_INFINITY, type: 0 },
    { length: 1, type: 0.5 },
    { length: 1, type: undefined },
    { length: '5', type: 0 },
    {},
  ])
    test(`fails where a run is ${JSON.stringify(run)}`, () =>
      assert.rejects(runsOf([{ length: 1, type: 0 }, run]), {
        message: `disk: extents returned a run of ${run.length} bytes, type ${run.type}`,
      }))

  for (const runs of [undefined, 5, {}, [null]])
    test(`fails where it is ${JSON.stringify(runs) ?? 'undefined'}`, () =>
      assert.rejects(runsOf(runs), TypeError))

  test('fails where the generator throws, after the runs before', async () => {
    const taken: Extent[] = []
    const runs = guardExtents(boundary(), function* () {
      yield { length: 1, type: 0 }
      throw new Error('torn')
    })
    assert.throws(() => {
      for (const run of runs(0, 10) as Iterable<Extent>) taken.push(run)
    }, new Error('torn'))
    assert.equal(taken.length, 1)
  })
})

describe('a window', () => {
  test('is a view of as many bytes as were asked for, or none', () => {
    const view = new Uint8Array(10)
    assert.equal(guardWindow(boundary(), () => view)(0, 10), view)
    assert.equal(guardWindow(boundary(), () => undefined)(0, 10), undefined)
    assert.throws(() => guardWindow(boundary(), () => view)(5, 9), {
      message: 'disk: window 9 at 5 returned 10 bytes',
    })
    const odd = (() => 'bytes') as unknown as () => Uint8Array
    assert.throws(() => guardWindow(boundary(), odd)(0, 9), { message: /returned string$/ })
  })
})

describe('calls that wait', () => {
  test('are noted with their layer and operation until they settle', async () => {
    const { running, ...of } = boundary()
    let settle = (_data: Data) => {}
    const promise = new Promise<Data>((resolve) => {
      settle = resolve
    })
    const data = guardRead({ running, ...of }, () => promise)(0, 10, alloc)
    assert.equal(running.size, 1)
    assert.deepEqual([running.stuck()?.layer, running.stuck()?.operation], ['disk', 'read'])
    settle(new Uint8Array(10))
    await data
    await Promise.resolve()
    assert.equal(running.size, 0)
  })

  test('are noted no longer when they failed', async () => {
    const { running, ...of } = boundary()
    const write = guardWrite({ running, ...of }, () => Promise.reject(new Error('no')))
    await assert.rejects(async () => write(0, alloc(1), flags), new Error('no'))
    await Promise.resolve()
    assert.equal(running.size, 0)
  })

  test('are none where a device answers at once, whatever it returns', () => {
    const odd = (() => 7) as unknown as () => undefined
    const { running, ...of } = boundary()
    assert.equal(guardWrite({ running, ...of }, odd)(0, alloc(1), flags), undefined)
    assert.equal(guardFlush({ running, ...of }, odd)(), undefined)
    assert.equal(running.size, 0)
  })
})
