import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../api/errors.js'
import { type Params, param } from '../api/params.js'
import type { FilterDefinition, PluginDefinition } from '../api/plugin.js'
import { configure } from './configure.js'

const size = param.size({ magic: true, doc: 'Size.' })

function plugin(params: Params = { size }): PluginDefinition {
  const setup = () => ({ open: () => ({ size: 0, read: () => new Uint8Array() }) })
  return { name: 'disk', description: '', params, setup }
}

function filter(name: string, params: Params): FilterDefinition {
  return { name, description: '', params, setup: () => ({}) }
}

/** The inputs of each layer, outermost first. */
function given(definition: PluginDefinition, filters: FilterDefinition[], ...words: string[]) {
  const configured = configure(definition, filters, words)
  return [...configured.filters, configured.plugin].map(({ inputs }) => inputs)
}

test('a key goes to the layer that declares it', () => {
  const offset = filter('offset', { offset: param.size({ doc: '' }) })
  assert.deepEqual(given(plugin(), [offset], 'size=1M', 'offset=4k'), [{ offset: '4k' }, { size: '1M' }])
})

test('a key that several layers declare goes to the outermost', () => {
  const outer = filter('outer', { size })
  assert.deepEqual(given(plugin(), [outer, filter('inner', { size })], 'size=1'), [{ size: '1' }, {}, {}])
})

test('the outermost of two equal filters is the first', () => {
  const delay = filter('delay', { time: param.delay({ doc: '' }) })
  const configured = configure(plugin(), [delay, delay], ['time=1'])
  assert.deepEqual(
    configured.filters.map(({ inputs }) => inputs),
    [{ time: '1' }, {}],
  )
})

test('a key is known by each of its spellings, and reaches the parameter that has them', () => {
  const params = { readDelay: param.delay({ doc: '', keys: ['rdelay', 'delay-read'] }) }
  assert.deepEqual(given(plugin(), [filter('delay', params)], 'delay-read=1ms'), [{ readDelay: '1ms' }, {}])
})

test('a bare word goes to the magic parameter of the plugin, whatever filters declare', () => {
  assert.deepEqual(given(plugin(), [filter('outer', { size })], '1G'), [{}, { size: '1G' }])
})

test('a word that does not begin as a key is a bare word', () => {
  const file = plugin({ file: param.path({ magic: true, doc: '' }) })
  for (const word of ['./a=b', '=x', '1=2', '_a=b', 'a b=c', ''])
    assert.deepEqual(given(file, [], word), [{ file: word }], word)
})

test('a value may be empty, hold = and span lines', () => {
  const params = { script: param.string({ doc: '' }) }
  for (const value of ['', 'a=b', 'a\nb=c'])
    assert.deepEqual(given(plugin(params), [], `script=${value}`), [{ script: value }])
})

test('keys that no layer declares are gathered by the parameter for others, for each server anew', () => {
  const any = plugin({ size, names: param.others({ keys: ['NAME'], doc: '' }) })
  const words = ['NAME=1', 'size=2', 'constructor=3']
  const expected = [{ offset: '4' }, { size: '2', names: { NAME: '1', constructor: '3' } }]
  const offset = filter('offset', { offset: size })
  for (let server = 0; server < 2; server++)
    assert.deepEqual(given(any, [offset], ...words, 'offset=4'), expected)
  assert.throws(() => given(any, [], 'a=1', 'a=2'), new ConfigError('disk: a is given twice: "1" and "2"'))
})

test('a key that no layer declares goes to the outermost that gathers them', () => {
  const others = { names: param.others({ doc: '' }) }
  assert.deepEqual(given(plugin(others), [filter('any', others)], 'a=1'), [{ names: { a: '1' } }, {}])
})

test('settings take what no layer declares, in order, and each bare word but the first', () => {
  const params = { script: param.string({ magic: true, doc: '' }), settings: param.settings({ doc: '' }) }
  const words = ['./x.sh', 'a=1', 'b=', 'a=2', 'word', 'script=mine', 'offset=4']
  const settings = [
    ...[
      ['a', '1'],
      ['b', ''],
      ['a', '2'],
      [undefined, 'word'],
    ],
    // The plugin has its script already, so this is for the script.
    ['script', 'mine'],
  ]
  const expected = [{ offset: '4' }, { script: './x.sh', settings }]
  assert.deepEqual(given(plugin(params), [filter('offset', { offset: size })], ...words), expected)
  const alone = { settings: param.settings({ doc: '' }) }
  assert.deepEqual(given(plugin(alone), [], 'word'), [{ settings: [[undefined, 'word']] }])
})

const bad: [means: string, words: string[], message: string][] = [
  [
    'a key that no layer knows, and says who was asked',
    ['sise=1'],
    'unknown parameter "sise": offset knows offset, range; disk knows size',
  ],
  ['a key given twice', ['size=1', 'size=2'], 'disk: size is given twice: "1" and "2"'],
  ['a key given once more as a bare word', ['size=1', '2'], 'disk: size is given twice: "1" and "2"'],
]
test('configure refuses a password that is given twice, and does not say it', () => {
  const secret = plugin({ password: param.password({ doc: '' }) })
  assert.throws(
    () => configure(secret, [], ['password=one', 'password=two']),
    new ConfigError('disk: password is given twice'),
  )
})

test('configure refuses what is given twice also where another program may have keys of its own', () => {
  const params = {
    script: param.string({ magic: true, doc: '' }),
    restart: param.boolean({ doc: '' }),
    settings: param.settings({ doc: '' }),
  }
  assert.throws(
    () => configure(plugin(params), [], ['x', 'restart=1', 'restart=0']),
    new ConfigError('disk: restart is given twice: "1" and "0"'),
  )
})

for (const [means, words, message] of bad)
  test(`configure refuses ${means}`, () => {
    const offset = filter('offset', { offset: size, range: size })
    assert.throws(() => configure(plugin(), [offset], words), new ConfigError(message))
  })

test('configure refuses a bare word where the plugin has no magic parameter', () => {
  assert.throws(
    () => configure(plugin({}), [filter('outer', { size })], ['memory']),
    new ConfigError('"memory": disk takes no bare word, expected key=value (it knows none)'),
  )
})

test('a key that may be given several times keeps its values in order, in one list', () => {
  const params = { ranges: param.strings({ keys: ['range'], doc: '' }) }
  assert.deepEqual(given(plugin(), [filter('outer', params)], 'range=2', 'size=1', 'range=1', 'range=2'), [
    { ranges: ['2', '1', '2'] },
    { size: '1' },
  ])
})
