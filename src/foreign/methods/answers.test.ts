import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HOLE, ZERO } from '../../api/device.js'
import { readBlockSize, readExports, readExtents, readSize, readSupport, readThreadModel } from './answers.js'

describe('what a script prints', () => {
  it('is a size, with a unit and a newline', () => {
    assert.equal(readSize('1M\n'), 2 ** 20)
    assert.equal(readSize('  512 '), 512)
    assert.throws(() => readSize(''), /could not parse size ""/)
    assert.throws(() => readSize('big\n'), /could not parse size "big"/)
  })

  it('is three block sizes, in any unit', () => {
    assert.deepEqual(readBlockSize('512 4k\t1M\n'), { minimum: 512, preferred: 4096, maximum: 2 ** 20 })
    assert.deepEqual(readBlockSize('1 4096 -1'), { minimum: 1, preferred: 4096, maximum: 0xffffffff })
    assert.equal(readBlockSize('0 0 0'), undefined)
    for (const text of ['', '512', '512 512', '512 512 512 512', 'a b c'])
      assert.throws(() => readBlockSize(text), /expected three sizes|could not parse size/, text)
  })

  it('is what is supported', () => {
    assert.equal(readSupport('native\n'), 'native')
    assert.throws(() => readSupport('perhaps\n'), /expected none, emulate or native, got "perhaps\\n"/)
  })

  it('is a thread model, and nothing where it is none', () => {
    assert.equal(readThreadModel('serialize_all_requests\n'), 'serialize-all-requests')
    assert.equal(readThreadModel('parallel'), 'parallel')
    assert.equal(readThreadModel('Serialize-Connections\n'), 'serialize-connections')
    assert.equal(readThreadModel('all at once'), undefined)
  })

  const exports: [text: string, expected: unknown][] = [
    ['', []],
    ['a\nb\n', [{ name: 'a' }, { name: 'b' }]],
    ['NAMES\na\n\n', [{ name: 'a' }, { name: '' }]],
    ['NAMES', []],
    ['INTERLEAVED\na\nfirst\nb\n', [{ name: 'a', description: 'first' }, { name: 'b' }]],
    [
      'NAMES+DESCRIPTIONS\na\nb\nfirst\nsecond\n',
      [
        { name: 'a', description: 'first' },
        { name: 'b', description: 'second' },
      ],
    ],
    ['names\na\n', [{ name: 'names' }, { name: 'a' }]],
  ]
  for (const [text, expected] of exports)
    it(`is a list of exports: ${JSON.stringify(text)}`, () => assert.deepEqual(readExports(text), expected))
})

describe('extents that a script prints', () => {
  it('are runs, whatever stands between them', () => {
    assert.deepEqual(readExtents('# a comment\n\n0 1M\n  1M 9M  hole,zero\n', 0), [
      { length: 2 ** 20, type: 0 },
      { length: 9 * 2 ** 20, type: HOLE | ZERO },
    ])
    assert.deepEqual(readExtents('0 512 hole\n512 512 zero\n1024 512 3', 0), [
      { length: 512, type: HOLE },
      { length: 512, type: ZERO },
      { length: 512, type: 3 },
    ])
  })

  // How nbdkit 1.32.5 reads each.
  const types: Readonly<Record<string, number>> = {
    ...{ '': 0, data: 0, foo: 0, HOLE: 0, hole: HOLE, zero: ZERO, 'hole zero': HOLE },
    ...{ 'hole,zero': 3, 'hole+zero': 3, 'hole|zero': 3, holezero: 3, 'zero,,hole': 3 },
    ...{ '1': 1, '2': 2, '03': 3, '4': 0, '9': 1, '010': 2, '3x': 3, '1k': 1, '0x3': 0, '-1': 3 },
    ...{ '99999999999': 3 },
  }
  for (const [word, type] of Object.entries(types))
    it(`are of type ${type} for "${word}"`, () =>
      assert.deepEqual(readExtents(`0 512 ${word}`, 0), [{ length: 512, type }]))

  it('begin where they were asked for', () => {
    assert.deepEqual(readExtents('0 512\n512 1024 hole\n', 1000), [{ length: 536, type: HOLE }])
  })

  const wrong: [text: string, message: RegExp][] = [
    ['', /none was given at 512/],
    ['0 512\n', /none was given at 512/],
    ['1024 512\n', /the first begins at 1024, asked for was 512/],
    ['0 1024\n2048 512', /"2048 512" begins at 2048, the one before ends at 1024/],
    ['0 1024\n512 1024', /begins at 512, the one before ends at 1024/],
    ['0', /could not parse size ""/],
  ]
  for (const [text, message] of wrong)
    it(`are refused: ${JSON.stringify(text)}`, () => assert.throws(() => readExtents(text, 512), message))
})
