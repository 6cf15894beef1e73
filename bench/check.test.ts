import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { comparison, isGrossLoss, isLost, ratiosByName } from './check.js'
import type { RowResult } from './result.js'
import { perSecond } from './row.js'

function result(name: string, median?: number): RowResult {
  if (median === undefined) return { name, ...perSecond, figures: {}, failed: 'it burns' }
  const ratio = { median, min: median, max: median }
  return { name, ...perSecond, figures: { ours: { figure: 1 }, nbdkit: { figure: 1, ratio } } }
}

describe('a row', () => {
  test('has lost when its ratio is less than half of what it was', () => {
    assert.equal(isLost(3, 1.4), true)
    assert.equal(isLost(3, 1.5), false)
    assert.equal(isLost(3, 9), false)
  })
  test('that is new, or was not measured, has lost nothing', () => {
    assert.equal(isLost(undefined, 0.1), false)
    assert.equal(isLost(3, undefined), false)
  })
})

describe('a gross loss', () => {
  test('is one of three runs', () => assert.equal(isGrossLoss(3, [1.4, 1, 0.1]), true))
  test('is none when one run of three was good', () => assert.equal(isGrossLoss(3, [1.4, 1.6, 0.1]), false))
  test('is none after fewer runs', () => {
    assert.equal(isGrossLoss(3, [1, 1]), false)
    assert.equal(isGrossLoss(3, []), false)
  })
  test('is none of a row that is new', () => assert.equal(isGrossLoss(undefined, [1, 1, 1]), false))
})

describe('the comparison', () => {
  test('has what was, what is, and the change, in the order of today', () =>
    assert.deepEqual(comparison([result('b', 2), result('a', 1)], [result('a', 1.5), result('b', 1)]), [
      ['a', '1.00', '1.50', '+50 %'],
      ['b', '2.00', '1.00', '−50 %'],
    ]))
  test('says what is new, and what has no figures now', () =>
    assert.deepEqual(comparison([result('a', 2)], [result('a'), result('b', 1)]), [
      ['a', '2.00', 'none', ''],
      ['b', 'new', '1.00', ''],
    ]))
  test('knows ratios by the names of their rows', () =>
    assert.deepEqual([...ratiosByName([result('a', 2), result('b')])], [['a', 2]]))
})
