import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seeded } from '../testing/index.js'
import { Bitmap } from './bitmap.js'

test('a bitmap has no bit set at first', () => {
  assert.equal(new Bitmap(100).next(true, 0, 100), 100)
  assert.equal(new Bitmap(0).next(false, 0, 0), 0)
})

test('a bitmap sets, clears and finds ranges as an array of booleans does', () => {
  const size = 131
  const bitmap = new Bitmap(size)
  const model = new Array<boolean>(size).fill(false)
  const random = seeded(1)
  for (let step = 0; step < 500; step++) {
    const from = random.below(size + 1)
    const to = from + random.below(size + 1 - from)
    const value = random.chance(0.5)
    if (value) bitmap.set(from, to)
    else bitmap.clear(from, to)
    model.fill(value, from, to)
    assert.deepEqual(
      model.map((_, index) => bitmap.has(index)),
      model,
      `step ${step}: ${value ? 'set' : 'clear'} ${from} to ${to}`,
    )
  }
})

test('a bitmap finds the next bit of either value, within the range alone', () => {
  const bitmap = new Bitmap(200)
  bitmap.set(31, 33)
  bitmap.set(127, 128)
  assert.equal(bitmap.next(true, 0, 200), 31)
  assert.equal(bitmap.next(true, 0, 31), 31)
  assert.equal(bitmap.next(false, 31, 200), 33)
  assert.equal(bitmap.next(true, 33, 200), 127)
  assert.equal(bitmap.next(true, 33, 100), 100)
  assert.equal(bitmap.next(true, 128, 200), 200)
  bitmap.set(0, 200)
  assert.equal(bitmap.next(false, 0, 200), 200)
})
