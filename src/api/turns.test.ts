import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { isPromise } from './maybe.js'
import { inPieces, inTurns } from './turns.js'

/** Blocks the event loop for `ms`. */
function hold(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

/** Work of `count` steps, each of which takes longer than a turn. */
function slowSteps(count: number, log: string[] = [], name = '') {
  let step = 0
  return () => {
    hold(2)
    log.push(`${name}${++step}`)
    return step < count
  }
}

test('work that is short is done at once, without a Promise', () => {
  let steps = 0
  assert.equal(
    inTurns(() => ++steps < 3),
    undefined,
  )
  assert.equal(steps, 3)
})

test('others are let in while long work is done', async () => {
  const log: string[] = []
  const done = inTurns(slowSteps(4, log))
  assert.ok(isPromise(done))
  assert.deepEqual(log, ['1', '2'])
  await turn()
  log.push('another')
  await done
  assert.ok(log.indexOf('another') < log.indexOf('4'), log.join())
})

test('only one long work goes on in each turn, and each has its turn', async () => {
  const log: string[] = []
  const all = ['a', 'b', 'c'].map((name) => inTurns(slowSteps(4, log, name)))
  // Only the first found nothing waiting.
  assert.deepEqual(log, ['a1', 'a2', 'b1', 'c1'])
  const turns: number[] = []
  while (log.length < 12) {
    const before = log.length
    await turn()
    turns.push(log.length - before)
  }
  await Promise.all(all)
  assert.ok(Math.max(...turns) <= 1, turns.join())
  assert.deepEqual(log.slice(4, 10), ['a3', 'b2', 'c2', 'a4', 'b3', 'c3'])
})

test('a step that waits is waited for, and so is the turn after it', async () => {
  let steps = 0
  let letIn = false
  const done = inTurns(async () => {
    if (steps === 0)
      setImmediate(() => {
        letIn = true
      })
    else assert.ok(letIn)
    return ++steps < 3
  })
  assert.equal(steps, 1)
  await done
  assert.equal(steps, 3)
})

test('a step that throws ends the work: in the first turn it throws, in a later one the promise rejects', async () => {
  const failAt = (last: number, ms: number) => {
    let steps = 0
    return () => {
      hold(ms)
      if (++steps === last) throw new Error(`step ${steps}`)
      return true
    }
  }
  assert.throws(() => inTurns(failAt(2, 0)), new Error('step 2'))
  await assert.rejects(async () => inTurns(failAt(4, 2)), new Error('step 4'))
  await assert.rejects(async () => inTurns(() => Promise.reject(new Error('later'))), new Error('later'))
  // Work that waits behind it gets its turn.
  await inTurns(slowSteps(3))
})

test('a range is worked on piece by piece, the last of them shorter', async () => {
  for (const later of [false, true]) {
    const pieces: number[][] = []
    const done = inPieces(100, 25, 10, (offset, length) => {
      pieces.push([offset, length])
      return later ? Promise.resolve() : undefined
    })
    assert.equal(isPromise(done), later)
    await done
    assert.deepEqual(pieces, [
      [100, 10],
      [110, 10],
      [120, 5],
    ])
  }
})

test('a range of one piece is a single call', () => {
  assert.equal(
    inPieces(7, 10, 10, (offset, length) => assert.deepEqual([offset, length], [7, 10])),
    undefined,
  )
})
