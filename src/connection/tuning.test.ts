import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as limits from '../protocol/limits.js'
import * as tuning from './tuning.js'

test('limits that depend on each other agree', () => {
  assert.ok(
    limits.optionBytesMax >= 4 * limits.stringBytesMax && limits.optionBytesMax <= limits.optionDrainBytesMax,
  )
  assert.ok(
    limits.statusPayloadBytesMax <= limits.payloadBytesMax &&
      limits.payloadBytesMax <= limits.payloadDrainBytesMax,
  )
  assert.ok(tuning.inFlightBytesMax >= limits.payloadBytesMax)
  assert.ok(tuning.largeBytesMin > tuning.receiveBytes && tuning.budgetBytes >= limits.payloadBytesMax)
  assert.ok(
    tuning.shareBytesMin >= tuning.largeBytesMin &&
      tuning.shareBytesMin <= tuning.shareBytesMax &&
      tuning.shareBytesMax <= tuning.sharesBytes,
  )
  assert.ok(tuning.payloadStepBytes >= tuning.receiveBytes && tuning.payloadStepBytes <= tuning.shareBytesMax)
  assert.ok(
    tuning.copyBytesMax + 64 <= tuning.outputBytes &&
      tuning.outputBytes <= tuning.batchBytesMax &&
      tuning.batchBytesMax <= tuning.outputBytesMax,
  )
  assert.ok(tuning.batchBytesFirst <= tuning.batchBytesMax)
  assert.ok(
    tuning.bulkHeadBytes < tuning.receiveIntoPlaceBytes &&
      tuning.receiveIntoPlaceBytes <= tuning.bulkBytesMin,
  )
  assert.ok(4 + 8 * limits.descriptorsMax <= limits.payloadBytesMax)
})
