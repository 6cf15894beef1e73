import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Export } from '../api/plugin.js'
import { type HeldList, ListBudget } from './export-list.js'
import { listPieceBytes } from './tuning.js'

/** Returns `count` exports that count as 1000 bytes each. */
function exports(count: number): Export[] {
  return Array.from({ length: count }, (_, index) => ({ name: `${index}`.padStart(900, '0') }))
}

/** The names in all replies that are left. */
function names(list: HeldList): string[] {
  const found: string[] = []
  for (let piece = list.piece(); piece !== undefined && piece.length > 0; piece = list.piece())
    for (let at = 0; at < piece.length; at += 20 + piece.readUInt32BE(at + 16))
      found.push(piece.toString('utf8', at + 24, at + 24 + piece.readUInt32BE(at + 20)))
  return found
}

describe('a list of exports on its way to a client', () => {
  test('goes in pieces, each a little more than so much, and is whole', () => {
    const list = new ListBudget().hold(exports(100))
    const piece = list.piece()
    assert.ok(piece && piece.length >= listPieceBytes && piece.length < listPieceBytes + 1000)
    const whole = new ListBudget().hold(exports(100))
    assert.deepEqual(
      names(whole),
      exports(100).map(({ name }) => name),
    )
  })

  test('leaves out the names that no client could ask for', () => {
    const asked = ['a', 'b\0', 'c\ud800', '\udc00d', 'x'.repeat(4097), 'é'.repeat(2048), '', '\u{1f600}']
    const list = new ListBudget().hold(asked.map((name) => ({ name })))
    assert.deepEqual(names(list), ['a', 'é'.repeat(2048), '', '\u{1f600}'])
  })

  test('has descriptions of 4096 bytes at most', () => {
    const list = new ListBudget().hold([{ name: 'a', description: 'é'.repeat(1_000_000) }])
    assert.equal(list.piece()?.length, 20 + 4 + 1 + 4096)
  })

  test('is counted until it is at its end', () => {
    const budget = new ListBudget()
    const list = budget.hold(exports(10))
    assert.equal(budget.bytes, 10_000)
    list.end()
    list.end()
    assert.equal(budget.bytes, 0)
  })

  test('is given up when all together hold too much, that of the slowest client first', () => {
    const budget = new ListBudget(100_000)
    const lists = [0, 1, 2].map(() => budget.hold(exports(30)))
    const [first, second, third] = lists as [HeldList, HeldList, HeldList]
    first.piece()
    const late = budget.hold(exports(60))
    assert.equal(second.piece(), undefined)
    assert.equal(third.piece(), undefined)
    assert.ok(names(first).length > 0)
    assert.equal(names(late).length, 60)
    assert.ok(budget.bytes <= 100_000)
  })

  test('of one client is let through however large it is', () => {
    const budget = new ListBudget(1000)
    assert.equal(names(budget.hold(exports(50))).length, 50)
  })
})
