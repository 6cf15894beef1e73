import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as limits from './limits.js'

test('limits that depend on each other agree', () => {
  assert.ok(
    limits.optionBytesMax >= 4 * limits.stringBytesMax && limits.optionBytesMax <= limits.optionDrainBytesMax,
  )
  assert.ok(
    limits.statusPayloadBytesMax <= limits.payloadBytesMax &&
      limits.payloadBytesMax <= limits.payloadDrainBytesMax,
  )
  assert.ok(limits.inFlightBytesMax >= limits.payloadBytesMax)
  assert.ok(limits.largeBytesMin > limits.receiveBytes && limits.budgetBytes >= limits.payloadBytesMax)
  assert.ok(
    limits.shareBytesMin >= limits.largeBytesMin &&
      limits.shareBytesMin <= limits.shareBytesMax &&
      limits.shareBytesMax <= limits.sharesBytes,
  )
  assert.ok(limits.payloadStepBytes >= limits.receiveBytes && limits.payloadStepBytes <= limits.shareBytesMax)
  assert.ok(
    limits.copyBytesMax + 64 <= limits.outputBytes &&
      limits.outputBytes <= limits.batchBytesMax &&
      limits.batchBytesMax <= limits.outputBytesMax,
  )
  assert.ok(limits.batchBytesFirst <= limits.batchBytesMax)
  assert.ok(
    limits.bulkHeadBytes < limits.receiveIntoPlaceBytes &&
      limits.receiveIntoPlaceBytes <= limits.bulkBytesMin,
  )
  assert.ok(4 + 8 * limits.descriptorsMax <= limits.payloadBytesMax)
})
