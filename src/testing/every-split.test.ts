import assert from 'node:assert/strict'
import { test } from 'node:test'
import { everySplit } from './every-split.js'

test('bytes are cut once at each place, and then into single bytes', () => {
  const cuts = [...everySplit(Buffer.from('abcd'))].map((pieces) =>
    pieces.map((piece) => Buffer.from(piece).toString()),
  )
  assert.deepEqual(cuts, [
    ['a', 'bcd'],
    ['ab', 'cd'],
    ['abc', 'd'],
    ['a', 'b', 'c', 'd'],
  ])
})

test('a piece is no view of the bytes that were cut', () => {
  const bytes = Buffer.from('ab')
  const [first] = [...everySplit(bytes)]
  bytes.fill('x')
  assert.equal(Buffer.concat(first ?? []).toString(), 'ab')
})
