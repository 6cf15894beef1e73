import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Device } from '../api/device.js'
import { complete } from '../chain/complete.js'
import { Running } from '../chain/running.js'
import { contextsOf, matchContexts } from './meta-contexts.js'

function device(...contexts: string[]): Device {
  const read = (_offset: number, length: number) => new Uint8Array(length)
  const extents = (_offset: number, length: number) => [{ length, type: 0 }]
  return complete('disk', 'plugin', { size: 512, read, extents, contexts }, new Running())
}
const rich = device('x-disk:dirty', 'x-disk:parity', 'x-other:dirty')
const all = ['base:allocation', 'x-disk:dirty', 'x-disk:parity', 'x-other:dirty']

describe('to list', () => {
  const cases: [means: string, queries: string[], names: string[]][] = [
    ['no query asks for all', [], all],
    ['a name asks for itself', ['base:allocation'], ['base:allocation']],
    ['base: asks for its namespace', ['base:'], ['base:allocation']],
    ['any namespace and a colon asks for all in it', ['x-disk:'], ['x-disk:dirty', 'x-disk:parity']],
    ['a name that nothing has finds nothing', ['base:dirty'], []],
    ['a namespace that nothing has finds nothing', ['qemu:', 'x-nobody:a'], []],
    ['a namespace is no beginning of another', ['x:', 'x-dis:', 'bas:'], []],
    ['a name is no beginning of another', ['base:alloc', 'x-disk:dir'], []],
    ['a name is no wildcard of what continues it', ['base:allocation:'], []],
    [
      'several queries give each context once, in the order of the device',
      ['x-other:', 'x-disk:', 'x-disk:dirty', 'base:'],
      all,
    ],
  ]
  for (const [means, queries, names] of cases)
    test(means, () => assert.deepEqual(matchContexts(rich, queries, false), names))
})

describe('to set', () => {
  const cases: [means: string, queries: string[], names: string[]][] = [
    ['no query selects nothing', [], []],
    ['a name selects itself', ['x-disk:dirty'], ['x-disk:dirty']],
    ['base: selects nothing', ['base:'], []],
    ['any other namespace and a colon selects nothing', ['x-disk:', 'qemu:'], []],
    ['a name given twice selects once', ['base:allocation', 'base:allocation'], ['base:allocation']],
    [
      'unknown names are passed over',
      ['base:dirty', 'qemu:dirty-bitmap:a', 'x-other:dirty'],
      ['x-other:dirty'],
    ],
  ]
  for (const [means, queries, names] of cases)
    test(means, () => assert.deepEqual(matchContexts(rich, queries, true), names))
})

test('selected contexts have ids from 1 in the order they were told', () => {
  const contexts = contextsOf(rich, ['base:allocation', 'x-other:dirty'])
  assert.deepEqual(
    contexts.map(({ id, name }) => [id, name]),
    [
      [1, 'base:allocation'],
      [2, 'x-other:dirty'],
    ],
  )
})

test('a context that the device has no more keeps its id to itself', () => {
  const contexts = contextsOf(device('x-disk:parity'), ['base:allocation', 'x-disk:dirty', 'x-disk:parity'])
  assert.deepEqual(
    contexts.map(({ id, name }) => [id, name]),
    [
      [1, 'base:allocation'],
      [3, 'x-disk:parity'],
    ],
  )
})

test('names that every object has are no contexts', () => {
  assert.deepEqual(matchContexts(device(), ['toString', 'constructor', '__proto__'], true), [])
})
