import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from './until.js'

test('what comes to hold is waited for', async () => {
  let looks = 0
  await until(() => ++looks === 3)
  assert.equal(looks, 3)
})

test('what does not is told by its text', async () => {
  const never = () => 1 > 2
  await assert.rejects(until(never, 20), { message: 'not within 20 ms: () => 1 > 2' })
})
