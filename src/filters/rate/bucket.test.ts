import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seeded } from '../../testing/random.js'
import { Bucket } from './bucket.js'

/** A bucket of 10 bytes a ms that saves up 100 ms, and its clock. */
function bucketOf(rate = 10) {
  let now = 1000
  const bucket = new Bucket(rate, 100, () => now)
  const pass = (ms: number) => {
    now += ms
  }
  return { bucket, pass }
}

test('a bucket lets pass at once what it has saved up, and no more', () => {
  const { bucket } = bucketOf()
  assert.equal(bucket.waitMs(bucket.ask(1000)), 0)
  assert.equal(bucket.waitMs(bucket.ask(10)), 1)
})

test('a bucket saves up for its time, and no longer', () => {
  const { bucket, pass } = bucketOf()
  bucket.ask(1000)
  pass(1_000_000)
  assert.equal(bucket.waitMs(bucket.ask(1000)), 0)
  assert.equal(bucket.waitMs(bucket.ask(1)), 0.1)
})

test('a bucket lets bytes pass in their order, each when its time has come', () => {
  const { bucket, pass } = bucketOf()
  bucket.ask(1000)
  const [first, second] = [bucket.ask(50), bucket.ask(100)]
  assert.deepEqual([bucket.waitMs(first), bucket.waitMs(second)], [5, 15])
  pass(5)
  assert.deepEqual([bucket.waitMs(first), bucket.waitMs(second)], [0, 10])
  pass(10)
  assert.equal(bucket.waitMs(second), 0)
})

test('a bucket lets more bytes pass than it can save up', () => {
  const { bucket, pass } = bucketOf()
  const place = bucket.ask(5000)
  assert.equal(bucket.waitMs(place), 400)
  pass(400)
  assert.equal(bucket.waitMs(place), 0)
})

test('a new rate holds for those who wait', () => {
  const { bucket, pass } = bucketOf()
  const place = bucket.ask(5000)
  pass(100)
  bucket.rate = 100
  assert.equal(bucket.waitMs(place), 30)
  bucket.rate = 0
  assert.equal(bucket.waitMs(place), 0)
})

test('a bucket without a limit makes nobody wait, and has nothing saved up when it gets one', () => {
  const { bucket, pass } = bucketOf(0)
  assert.equal(bucket.waitMs(bucket.ask(1e12)), 0)
  pass(1000)
  bucket.rate = 10
  assert.equal(bucket.waitMs(bucket.ask(10)), 1)
})

test('over any time no more passes than the rate and what was saved up allow', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = seeded(seed)
    const { bucket, pass } = bucketOf()
    let [time, passed] = [0, 0]
    for (let count = 0; count < 200; count++) {
      const bytes = 1 + random.below(500)
      const waited = bucket.waitMs(bucket.ask(bytes))
      time += waited
      pass(waited)
      passed += bytes
      assert.ok(passed <= 1000 + 10 * time + 1e-6, `seed ${seed}`)
      const idle = random.below(30)
      time += idle
      pass(idle)
    }
  }
})
