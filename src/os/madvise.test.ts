import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adviceBytes, loadMemoryAdvice, memoryAdvice } from './madvise.js'

const advice = memoryAdvice()
const skip = advice ? false : 'the system cannot be told to take memory back'

test('memory that is given back is zero, and that beside it is not', { skip }, () => {
  assert.ok(advice)
  const buffer = new Uint8Array(4 * adviceBytes)
  const first = adviceBytes - (advice.address(buffer) % adviceBytes)
  buffer.fill(1)
  assert.equal(advice.giveBack(buffer.subarray(first, first + 2 * adviceBytes)), true)
  assert.equal(buffer.indexOf(0), first)
  assert.equal(buffer.lastIndexOf(0), first + 2 * adviceBytes - 1)
})

test('memory that is not of whole pages is not given back, and stays as it is', { skip }, () => {
  assert.ok(advice)
  const buffer = new Uint8Array(4 * adviceBytes).fill(1)
  const first = adviceBytes - (advice.address(buffer) % adviceBytes)
  assert.equal(advice.giveBack(buffer.subarray(first + 4096, first + 4096 + adviceBytes)), false)
  assert.equal(advice.giveBack(buffer.subarray(first, first + 4096)), false)
  assert.equal(buffer.indexOf(0), -1)
})

test('there is no advice without koffi, nor elsewhere than on Linux', () => {
  const missing = () => {
    throw new Error('cannot find koffi')
  }
  assert.equal(loadMemoryAdvice('linux', missing), undefined)
  assert.equal(loadMemoryAdvice('darwin'), undefined)
})
