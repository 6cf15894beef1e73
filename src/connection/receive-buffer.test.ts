import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BufferPool } from './buffer-pool.js'
import { ReceiveBuffers } from './receive-buffer.js'
import { receiveBytes } from './tuning.js'

/** Buffers over a pool that notes what comes back. */
function noted() {
  const pool = new BufferPool()
  const given: Uint8Array[] = []
  const give = pool.give.bind(pool)
  pool.give = (bytes) => {
    given.push(bytes)
    give(bytes)
  }
  return { buffers: new ReceiveBuffers(pool), given }
}

describe('the buffer that a connection receives into', () => {
  test('is small and stays the same while the client sends little', () => {
    const { buffers, given } = noted()
    const first = buffers.current
    assert.equal(first.bytes.length, 4096)
    assert.equal(buffers.next(28), first)
    assert.equal(buffers.next(4095), first)
    assert.equal(given.length, 0)
  })

  test('is a large one once the small one was filled', () => {
    const { buffers, given } = noted()
    const first = buffers.current
    const next = buffers.next(first.bytes.length)
    assert.equal(next.bytes.length, receiveBytes)
    assert.deepEqual(given, [first.bytes])
    assert.equal(buffers.next(receiveBytes), next, 'there is none that is larger')
  })

  test('is another one while a device uses its bytes, which come back to the pool after that', () => {
    const { buffers, given } = noted()
    const first = buffers.current
    first.pins = 2
    const next = buffers.next(100)
    assert.notEqual(next, first)
    assert.equal(next.bytes.length, first.bytes.length)
    buffers.unpin(first)
    assert.equal(given.length, 0)
    buffers.unpin(first)
    assert.deepEqual(given, [first.bytes])
  })

  test('stays with the connection where a device lets go before the next bytes come', () => {
    const { buffers, given } = noted()
    const first = buffers.current
    first.pins = 1
    buffers.unpin(first)
    assert.equal(buffers.next(100), first)
    assert.equal(given.length, 0)
  })

  test('goes back once, with the connection, or when the device lets go of the last bytes', () => {
    const idle = noted()
    const { bytes } = idle.buffers.current
    idle.buffers.release()
    assert.deepEqual(idle.given, [bytes])

    const busy = noted()
    const pinned = busy.buffers.current
    pinned.pins = 1
    busy.buffers.release()
    assert.equal(busy.given.length, 0)
    busy.buffers.unpin(pinned)
    assert.deepEqual(busy.given, [pinned.bytes])
  })
})
