import assert from 'node:assert/strict'
import { test } from 'node:test'
import { editDistance, nearest, orNearest } from './nearest.js'

test('a distance counts letters added, removed, replaced and exchanged', () => {
  const distances: [string, string, number][] = [
    ['', '', 0],
    ['', 'abc', 3],
    ['abc', '', 3],
    ['memory', 'memory', 0],
    ['memry', 'memory', 1],
    ['memoryy', 'memory', 1],
    ['menory', 'memory', 1],
    ['memroy', 'memory', 1],
    ['kitten', 'sitting', 3],
  ]
  for (const [a, b, distance] of distances) assert.equal(editDistance(a, b), distance, `${a}, ${b}`)
})

test('the nearest word is found, unless it is another word altogether', () => {
  const known = ['delay', 'file', 'memory', 'null']
  assert.equal(nearest('nul', known), 'null')
  assert.equal(nearest('memmory', known), 'memory')
  assert.equal(nearest('fiel', known), 'file')
  assert.equal(nearest('curl', known), undefined)
  assert.equal(nearest('', known), undefined)
})

test('a suggestion is empty where there is none', () => {
  assert.equal(orNearest('pot', ['port'], '--'), ': did you mean --port?')
  assert.equal(orNearest('tracks', ['port']), '')
})
