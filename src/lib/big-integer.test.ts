import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBigInteger } from './big-integer.js'

const integers: [text: string, value: bigint][] = [
  ['0', 0n],
  ['7', 7n],
  ['010', 8n],
  ['00', 0n],
  ['0x1bD', 445n],
  ['0X10', 16n],
  ['18446744073709551615', 2n ** 64n - 1n],
]
for (const [text, value] of integers)
  test(`${text} is ${value}`, () => assert.equal(parseBigInteger(text), value))

for (const text of ['', ' 1', '1 ', '-1', '+1', '08', '0x', '1k', '0b1', '1.0', 'x'])
  test(`"${text}" is no integer`, () => assert.equal(parseBigInteger(text), undefined))
