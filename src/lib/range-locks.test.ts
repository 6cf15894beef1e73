import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { isPromise } from '../api/maybe.js'
import { seeded } from '../testing/random.js'
import { RangeLocks } from './range-locks.js'

describe('locks of ranges', () => {
  it('run work at once where nothing is held, and give what it gives', () => {
    assert.equal(
      new RangeLocks().run(0, 10, () => 5),
      5,
    )
  })

  it('let work on other ranges pass', async () => {
    const locks = new RangeLocks()
    const held = locks.run(0, 10, () => turn())
    assert.equal(
      locks.run(10, 20, () => 'at once'),
      'at once',
    )
    await held
  })

  it('make work on the same range wait until the earlier has ended, also by an error', async () => {
    const locks = new RangeLocks()
    const events: string[] = []
    const failing = locks.run(0, 10, async () => {
      await turn()
      events.push('first')
      throw new Error('no')
    })
    const next = locks.run(9, 12, () => events.push('second'))
    assert.ok(isPromise(next))
    const last = locks.run(11, 12, () => events.push('third'))
    await assert.rejects(async () => failing, { message: 'no' })
    await Promise.all([next, last])
    assert.deepEqual(events, ['first', 'second', 'third'])
    assert.equal(
      locks.run(0, 20, () => 'free'),
      'free',
    )
  })

  it('pass on what work throws at once, and hold nothing then', () => {
    const locks = new RangeLocks()
    assert.throws(
      () =>
        locks.run(0, 10, () => {
          throw new Error('at once')
        }),
      { message: 'at once' },
    )
    assert.equal(
      locks.run(0, 10, () => 1),
      1,
    )
  })

  it('never run overlapping work together, and keep its order', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const random = seeded(seed)
      const locks = new RangeLocks()
      const running = new Set<readonly [number, number]>()
      const last: number[] = []
      const all = Array.from({ length: 60 }, (_, index) => {
        const first = random.below(20)
        const range = [first, first + 1 + random.below(5)] as const
        return locks.run(...range, async () => {
          for (const [from, to] of running) assert.ok(to <= range[0] || range[1] <= from, `seed ${seed}`)
          for (let place = range[0]; place < range[1]; place++) {
            assert.ok((last[place] ?? -1) < index, `seed ${seed}: the order`)
            last[place] = index
          }
          running.add(range)
          for (let turns = random.below(4); turns > 0; turns--) await turn()
          running.delete(range)
        })
      })
      await Promise.all(all)
    }
  })
})
