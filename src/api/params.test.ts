import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { textOfBytes } from './byte-text.js'
import { ConfigError } from './errors.js'
import { keysOf, param, resolveValues } from './params.js'

const params = {
  size: param.size({ required: true, magic: true, doc: 'Size.' }),
  wait: param.delay({ default: 5, keys: ['delay-read', 'rdelay'], doc: 'Wait.' }),
  chance: param.probability({ doc: 'Chance.' }),
  really: param.boolean({ default: false, doc: 'Really.' }),
  count: param.int({ min: 1, max: 9, doc: 'Count.' }),
  mode: param.oneOf(['fast', 'slow'], { default: 'slow', doc: 'Mode.' }),
  file: param.path({ doc: 'File.' }),
}
const values = (inputs: Record<string, unknown>) => resolveValues('layer', params, inputs)

test('text is parsed as on a command line, and values are taken as they are', () => {
  const given = { size: '1k', wait: '2', chance: '50%', really: 'on', count: '3', mode: 'fast', file: 'x' }
  const parsed = {
    size: 1024,
    wait: 2000,
    chance: 0.5,
    really: true,
    count: 3,
    mode: 'fast',
    file: resolve('x'),
  }
  assert.deepEqual(values(given), parsed)
  assert.deepEqual(values(parsed), parsed)
})

test('what is not given has its default, or is undefined', () => {
  const { wait, chance, really, mode } = values({ size: 0 })
  assert.deepEqual(
    { wait, chance, really, mode },
    { wait: 5, chance: undefined, really: false, mode: 'slow' },
  )
})

test('each mistake names the layer, the key of the command line and what would be right', () => {
  const mistakes: [Record<string, unknown>, string][] = [
    [{}, 'layer: size=SIZE is required'],
    [
      { size: 1, wait: 'x' },
      'layer: delay-read: could not parse delay "x": expected seconds, or a number with',
    ],
    [{ size: 1, count: 10 }, 'layer: count: 10 is out of range: expected an integer from 1 to 9'],
    [{ size: 1, count: true }, 'layer: count: expected a number, got boolean'],
    [{ size: -1 }, 'layer: size: -1 is out of range'],
    [{ size: 1.5 }, 'layer: size: 1.5 is out of range'],
    [{ size: 1, mode: 'medium' }, 'layer: mode: "medium" is none of fast, slow'],
    [{ size: 1, file: '' }, 'layer: file: the file name is empty'],
    [{ size: 1, chance: 2 }, 'layer: chance: probability 2 is out of range'],
    [{ size: 1, sise: 2 }, 'layer: unknown parameter "sise" (it knows size, delay-read, rdelay, chance,'],
  ]
  for (const [inputs, message] of mistakes)
    assert.throws(
      () => values(inputs),
      (error: unknown) => error instanceof ConfigError && error.message.startsWith(message),
      message,
    )
})

test('a parameter is known by its keys, or else by its name', () => {
  assert.deepEqual(keysOf('wait', params.wait), ['delay-read', 'rdelay'])
  assert.deepEqual(keysOf('size', params.size), ['size'])
})

test('a word may have other spellings, and be written in any case where the parameter says so', () => {
  const { word, exact } = {
    word: param.oneOf(['nop', 'time'], { also: { 'no-op': 'nop' }, anyCase: true, doc: '' }),
    exact: param.oneOf(['nop'], { also: { 'no-op': 'nop' }, doc: '' }),
  }
  assert.deepEqual(
    ['nop', 'no-op', 'NO-OP', 'Time'].map((text) => word.parse(text)),
    ['nop', 'nop', 'nop', 'time'],
  )
  assert.equal(exact.parse('no-op'), 'nop')
  for (const text of ['NOP', 'No-Op', 'constructor', ''])
    assert.throws(() => exact.parse(text), { message: `"${text}" is none of nop` })
})

test('text that is not UTF-8 is refused by layer, key and word, unless the layer turns it into bytes', () => {
  const stray = textOfBytes(Buffer.from('a\xff', 'latin1'))
  const known = {
    text: param.string({ doc: '' }),
    bytes: param.string({ bytes: true, doc: '' }),
    others: param.others({ doc: '' }),
    more: param.settings({ doc: '' }),
    list: param.strings({ doc: '' }),
  }
  assert.equal(resolveValues('layer', known, { bytes: stray }).bytes, stray)
  for (const inputs of [
    { text: stray },
    { others: { key: stray } },
    { more: [['key', stray]] },
    { more: [[stray, '']] },
    { list: ['', stray] },
  ])
    assert.throws(() => resolveValues('layer', known, inputs), {
      message: `layer: ${Object.keys(inputs)[0]}: "a\\xff" is not UTF-8, and cannot be used here`,
    })
})

test('no password is in a message, nor is one taken that is not UTF-8', () => {
  const { password } = { password: param.password({ doc: '' }) }
  const stray = textOfBytes(Buffer.from('a\xff', 'latin1'))
  assert.throws(() => resolveValues('layer', { password }, { password: stray }), {
    message: 'layer: password: the password is not UTF-8',
  })
})

test('texts under one key are a list, also where there is one', () => {
  const params = { list: param.strings({ default: [], doc: '' }) }
  for (const [input, list] of [
    ['a', ['a']],
    [
      ['b', 'a'],
      ['b', 'a'],
    ],
    [undefined, []],
  ] as const)
    assert.deepEqual(resolveValues('layer', params, { list: input }).list, list)
  for (const input of [1, ['a', 1], {}])
    assert.throws(() => resolveValues('layer', params, { list: input }), {
      message: `layer: list: expected an array of texts, got ${typeof input}`,
    })
})
