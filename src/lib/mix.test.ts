import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mix } from './mix.js'

test('mix gives each word another one', () => {
  const seen = new Set<number>()
  for (let word = 0; word < 100_000; word++) seen.add(mix(word))
  assert.equal(seen.size, 100_000)
})

test('mix gives the values of MurmurHash3', () => {
  assert.deepEqual(
    [0, 1, 0xffffffff].map((word) => mix(word) >>> 0),
    [0, 0x514e28b7, 0x81f16f39],
  )
})

test('mix changes about half of the bits for each bit that changes', () => {
  let changed = 0
  for (let bit = 0; bit < 32; bit++)
    for (let word = 0; word < 100; word++) {
      const both = mix(word) ^ mix(word ^ (1 << bit))
      changed += (both >>> 0).toString(2).replaceAll('0', '').length
    }
  assert.ok(Math.abs(changed / 3200 - 16) < 1, `${changed / 3200} bits on average`)
})
