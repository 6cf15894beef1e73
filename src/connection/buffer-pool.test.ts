import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BufferPool } from './buffer-pool.js'

const MiB = 1024 * 1024

test('memory has exactly the length asked for, in a buffer of a power of two', () => {
  const pool = new BufferPool()
  for (const [length, whole] of [
    [0, 4096],
    [1, 4096],
    [4096, 4096],
    [4097, 8192],
    [65536, 65536],
    [8 * MiB - 1, 8 * MiB],
    [8 * MiB, 8 * MiB],
  ] as const) {
    const view = pool.take(length)
    assert.deepEqual([view.length, view.byteOffset, view.buffer.byteLength], [length, 0, whole])
  }
})

test('beyond 8 MiB memory is made to measure, and not kept', () => {
  const pool = new BufferPool()
  const view = pool.take(8 * MiB + 1)
  assert.equal(view.buffer.byteLength, 8 * MiB + 1)
  pool.give(view)
  assert.notEqual(pool.take(8 * MiB + 1).buffer, view.buffer)
})

test('what was given back is taken again, for any length of its size', () => {
  const pool = new BufferPool()
  const first = pool.take(5000)
  pool.give(first)
  const second = pool.take(8192)
  assert.equal(second.buffer, first.buffer)
  assert.notEqual(pool.take(8192).buffer, first.buffer, 'and only once')
})

test('any view of memory gives all of it back', () => {
  const pool = new BufferPool()
  const view = pool.take(5000)
  pool.give(view.subarray(100, 200))
  assert.equal(pool.take(5000).buffer, view.buffer)
})

test('no more than 32 MiB are kept', () => {
  const pool = new BufferPool()
  const views = Array.from({ length: 5 }, () => pool.take(8 * MiB))
  for (const view of views) pool.give(view)
  const kept = new Set(views.map(({ buffer }) => buffer))
  const again = Array.from({ length: 5 }, () => pool.take(8 * MiB))
  assert.equal(again.filter(({ buffer }) => kept.has(buffer)).length, 4)
})

test('memory that is not of the pool is not kept', () => {
  const pool = new BufferPool()
  const own = new Uint8Array(5000)
  pool.give(own)
  assert.notEqual(pool.take(5000).buffer, own.buffer)
})

test('memory that was lent is known by any view of it, and once', () => {
  const pool = new BufferPool()
  const lent = pool.lend(10_000)
  assert.equal(lent.length, 10_000)
  assert.equal(pool.takeBack(lent.subarray(5, 6)), true)
  assert.equal(pool.takeBack(lent), false)
})

test('memory that was taken, or belongs to a device, was not lent', () => {
  const pool = new BufferPool()
  pool.lend(1)
  assert.equal(pool.takeBack(pool.take(1)), false)
  assert.equal(pool.takeBack(new Uint8Array(4096)), false)
})

test('memory beyond 8 MiB is known too where it was lent', () => {
  const pool = new BufferPool()
  const lent = pool.lend(9 * MiB)
  assert.equal(pool.takeBack(lent), true)
  pool.give(lent)
})
