import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seeded } from '../testing/index.js'
import { spansOf } from './spans.js'

test('spans are the ranges of a list and the gaps between them, cut to what is asked for', () => {
  const [one, two] = [
    { start: 10, end: 20 },
    { start: 30, end: 31 },
  ]
  const spans = (offset: number, length: number) => [...spansOf([one, two], offset, length)]
  assert.deepEqual(spans(0, 40), [
    { start: 0, end: 10, range: undefined },
    { start: 10, end: 20, range: one },
    { start: 20, end: 30, range: undefined },
    { start: 30, end: 31, range: two },
    { start: 31, end: 40, range: undefined },
  ])
  assert.deepEqual(spans(12, 3), [{ start: 12, end: 15, range: one }])
  assert.deepEqual(spans(20, 10), [{ start: 20, end: 30, range: undefined }])
  assert.deepEqual(spans(30, 1), [{ start: 30, end: 31, range: two }])
  assert.deepEqual([...spansOf([], 5, 1)], [{ start: 5, end: 6, range: undefined }])
})

test('spans name the range of each byte, and leave none out', () => {
  const random = seeded(1)
  for (let round = 0; round < 300; round++) {
    const ranges: { start: number; end: number }[] = []
    for (let start = random.below(5); start < 100; start += random.below(10)) {
      const end = start + 1 + random.below(10)
      ranges.push({ start, end })
      start = end
    }
    const offset = random.below(120)
    const length = 1 + random.below(20)
    let at = offset
    for (const { start, end, range } of spansOf(ranges, offset, length)) {
      assert.equal(start, at)
      assert.ok(end > start)
      for (; at < end; at++)
        assert.equal(
          ranges.find((one) => one.start <= at && at < one.end),
          range,
        )
    }
    assert.equal(at, offset + length)
  }
})
