import assert from 'node:assert/strict'
import { test } from 'node:test'
import { copierOf } from './data-copier.js'

const text = Buffer.from('abcdefghijklmnop')

test('a copier fills targets one after the other, wherever the parts end', () => {
  for (let end = 0; end <= text.length; end++)
    for (let size = 1; size < text.length; size++) {
      const copyNext = copierOf([text.subarray(0, end), text.subarray(end)])
      const target = Buffer.alloc(text.length)
      for (let at = 0; at < target.length; at += size) copyNext(target.subarray(at, at + size))
      assert.deepEqual(target, text)
    }
})

test('a copier of one part copies that part', () => {
  const target = Buffer.alloc(4)
  copierOf(text)(target)
  assert.equal(target.toString(), 'abcd')
})

test('a copier refuses to go beyond the data', () => {
  assert.throws(() => copierOf(text)(new Uint8Array(20)), {
    name: 'RangeError',
    message: '4 bytes are missing',
  })
})
