import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Staging } from './staging.js'

const unit = 64
const staging = () => new Staging(unit, () => new Uint8Array(16 * unit))

test('memory is lent by the unit, or twice, four times as much, and by no other length', () => {
  const lender = staging()
  for (const length of [unit, 2 * unit, 4 * unit, 16 * unit])
    assert.equal(lender.lend(length)?.length, length)
  for (const length of [unit / 2, unit + 1, 3 * unit]) assert.equal(lender.lend(length), undefined)
})

test('no two windows have memory in common', () => {
  const lender = staging()
  const views = [1, 4, 16, 2, 8, 1, 2, 16, 4].map((units) => lender.lend(units * unit) ?? assert.fail('none'))
  for (const [index, view] of views.entries()) view.fill(index)
  for (const [index, view] of views.entries()) assert.ok(view.every((byte) => byte === index))
})

test('only so many of a size are lent, and again when one came back', () => {
  const lender = staging()
  const views = Array.from({ length: 8 }, () => lender.lend(unit) ?? assert.fail('none'))
  assert.equal(lender.lend(unit), undefined)
  assert.ok(lender.lend(2 * unit), 'another size')
  const [first = assert.fail('none')] = views
  lender.takeBack(first)
  assert.equal(lender.lend(unit), first)
  assert.equal(lender.lend(unit), undefined)
})

test('what came back in the place of a window is lent in its turn', () => {
  const lender = staging()
  const window = lender.lend(unit) ?? assert.fail('none')
  const other = new Uint8Array(unit)
  assert.ok(lender.isLent(window))
  lender.takeBack(window, other)
  assert.ok(!lender.isLent(window))
  assert.equal(lender.lend(unit), other)
})

test('memory comes back once, and what was never lent not at all', () => {
  const lender = staging()
  const window = lender.lend(unit) ?? assert.fail('none')
  lender.takeBack(new Uint8Array(unit))
  lender.takeBack(window)
  lender.takeBack(window)
  assert.equal(lender.lend(unit), window)
  assert.notEqual(lender.lend(unit), window)
})

test('where there is no memory nothing is lent, and a mistake of another kind is told', () => {
  const failing = (error: Error) =>
    new Staging(unit, () => {
      throw error
    })
  assert.equal(failing(new RangeError('no memory')).lend(unit), undefined)
  assert.throws(() => failing(new TypeError('a mistake')).lend(unit), /a mistake/)
})
