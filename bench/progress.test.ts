import assert from 'node:assert/strict'
import { test } from 'node:test'
import { progress } from './progress.js'

test('rows that are left take as long as those that are done', () => {
  assert.equal(progress(12, 110, 12_000), 'row 12 of 110, 98 s left')
  assert.equal(progress(12, 110, 120_000), 'row 12 of 110, 16 min left')
  assert.equal(progress(1, 110, 120_000), 'row 1 of 110, 3.6 h left')
})

test('behind the last row nothing is left', () => {
  assert.equal(progress(110, 110, 1000), 'row 110 of 110')
})
