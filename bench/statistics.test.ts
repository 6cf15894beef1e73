import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ratiosOf, spreadOf } from './statistics.js'

describe('a spread', () => {
  test('has the middle one of an odd number of values', () =>
    assert.deepEqual(spreadOf([5, 1, 100]), { median: 5, min: 1, max: 100 }))
  test('has the mean of the two in the middle of an even number', () =>
    assert.deepEqual(spreadOf([4, 1, 2, 30]), { median: 3, min: 1, max: 30 }))
  test('of one value is that value', () => assert.deepEqual(spreadOf([7]), { median: 7, min: 7, max: 7 }))
  test('sorts as numbers, not as text', () => assert.equal(spreadOf([10, 9, 8]).median, 9))
  test('of no values is an error', () => assert.throws(() => spreadOf([]), /no values have no median/))
})

describe('ratios', () => {
  test('are above 1 where ours does more', () =>
    assert.deepEqual(ratiosOf([20, 30], [10, 60], 'more'), [2, 0.5]))
  test('are above 1 where ours needs less', () =>
    assert.deepEqual(ratiosOf([20, 30], [10, 60], 'less'), [0.5, 2]))
  test('are of pairs: of no other number of values', () =>
    assert.throws(() => ratiosOf([1], [1, 2], 'more'), /are no pairs/))
})
