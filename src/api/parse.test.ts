import assert from 'node:assert/strict'
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseBoolean, parseDelay, parseInteger, parseProbability, parseSize, readPassword } from './parse.js'

test('a size has a unit of powers of 1024, sectors or bytes', () => {
  const sizes: [string, number][] = [
    ...([
      ['0', 0],
      ['1', 1],
      ['10b', 10],
      ['2s', 1024],
      ['3K', 3072],
      ['4m', 4 * 2 ** 20],
    ] as const),
    ...([
      ['1G', 2 ** 30],
      ['1t', 2 ** 40],
      ['7P', 7 * 2 ** 50],
      ['+5', 5],
      [' 6', 6],
    ] as const),
  ].map(([text, size]) => [text, size])
  for (const [text, size] of sizes) assert.equal(parseSize(text), size, text)
})

test('a size that is none, or not exact as a number, is refused', () => {
  for (const text of [
    '',
    ' ',
    'K',
    '-1',
    '-0',
    '1.5G',
    '1GiB',
    '1KB',
    '0x10',
    '1 G',
    '1K ',
    '1\n',
    '1K1',
    '１',
    '\u00a01',
    'NaN',
  ])
    assert.throws(() => parseSize(text), /could not parse size/, text)
  for (const text of ['8P', '1E', '9007199254740992']) assert.throws(() => parseSize(text), /too large/, text)
  assert.equal(parseSize('9007199254740991'), Number.MAX_SAFE_INTEGER)
})

test('an integer is decimal, hexadecimal or octal, and within its range', () => {
  const integers: [string, number][] = [
    ['0', 0],
    ['42', 42],
    ['-7', -7],
    ['+7', 7],
    ['0x1F', 31],
    ['-0x10', -16],
    ['010', 8],
  ]
  for (const [text, value] of integers) assert.equal(parseInteger(text, -100, 100), value, text)
  for (const text of [
    '',
    ' ',
    '1x',
    '1 ',
    '1\n',
    '08',
    '0x',
    '0xg',
    '1.0',
    '1e3',
    '1k',
    '--1',
    '+',
    '-',
    '- 1',
    '\u00a01',
  ])
    assert.throws(() => parseInteger(text, 0, 100), /could not parse number/, text)
  assert.throws(() => parseInteger('101', 0, 100), /101 is out of range: expected an integer from 0 to 100/)
  for (const text of ['-1', '-0', '-0x1', '99999999999999999999'])
    assert.throws(() => parseInteger(text, 0, 100), /out of range/, text)
  assert.equal(parseInteger(' \t7', 0, 100), 7)
})

test('a boolean is one of the words of nbdkit, in any case', () => {
  for (const word of ['1', 'true', 'T', 'YES', 'y', 'on']) assert.equal(parseBoolean(word), true, word)
  for (const word of ['0', 'FALSE', 'f', 'no', 'N', 'off']) assert.equal(parseBoolean(word), false, word)
  for (const word of ['', ' ', '2', '01', '1 ', ' on', 'true\n', 'maybe', 'o'])
    assert.throws(() => parseBoolean(word), /could not decipher boolean/, word)
})

test('a delay is in seconds, or has a unit', () => {
  const delays: [string, number][] = [
    ['1', 1000],
    ['1.5', 1500],
    ['.25s', 250],
    ['10ms', 10],
    ['500us', 0.5],
    ['500μs', 0.5],
    ['1000000ns', 1],
    ['0', 0],
    ['+1', 1000],
    [' 2', 2000],
    ['1e-3', 1],
    ['1E3ms', 1000],
    ['1.', 1000],
  ]
  for (const [text, ms] of delays) assert.equal(parseDelay(text), ms, text)
  for (const text of [
    '',
    ' ',
    '-1',
    '-0',
    '1m',
    '1S',
    '1 s',
    '1s ',
    '1\n',
    'ms',
    '.',
    'e3',
    '1e',
    '0x1',
    'inf',
    'nan',
    '\u00a01',
  ])
    assert.throws(() => parseDelay(text), /could not parse delay/)
  assert.throws(() => parseDelay('2147484'), /out of range/)
})

test('a probability is a number, a percentage or a ratio', () => {
  const probabilities: [string, number][] = [
    ['0', 0],
    ['1', 1],
    ['0.25', 0.25],
    ['10%', 0.1],
    ['1:4', 0.25],
    ['1/10', 0.1],
    ['1e-3', 0.001],
    ['+.5', 0.5],
    ['0:0', 0],
    ['0.5:2', 0.25],
  ]
  for (const [text, value] of probabilities) assert.equal(parseProbability(text), value, text)
  for (const text of [
    '',
    ' ',
    'x',
    '-0.5',
    '-0',
    '1:',
    ':2',
    '1:-2',
    '1:2:3',
    '%',
    '50 %',
    '1 ',
    '1\n',
    '5%%',
    'nan',
    'inf',
  ])
    assert.throws(() => parseProbability(text), /could not parse probability/, text)
  for (const text of ['2', '101%', '2:1', '1:0'])
    assert.throws(() => parseProbability(text), /out of range/, text)
})

test('a password is itself, or the first line of a file or a descriptor', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'nbdkit-ts-password-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'secret')
  writeFileSync(file, 'open sesame\nsecond line\n')
  assert.equal(readPassword('plain'), 'plain')
  assert.equal(readPassword(''), '')
  assert.equal(readPassword(`+${file}`), 'open sesame')
  assert.equal(readPassword(`-${openSync(file, 'r')}`), 'open sesame')
  assert.throws(() => readPassword(`+${join(folder, 'none')}`), /ENOENT/)
  for (const fd of [0, 1, 2]) assert.throws(() => readPassword(`-${fd}`), /cannot be read from stdin, stdout/)
  assert.throws(() => readPassword('-x'), /could not parse number/)
})
