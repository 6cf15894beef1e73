import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getString, getUint64, setUint64, stringBytes, toNumber, viewOf } from './bytes.js'

/** The result of `getUint64` for a field given in hex. */
function uint64(hex: string): number {
  return getUint64(viewOf(Buffer.from(hex, 'hex')), 0)
}

const fields: [hex: string, value: number][] = [
  ['0000000000000000', 0],
  ['00000000ffffffff', 2 ** 32 - 1],
  ['0000000100000000', 2 ** 32],
  ['001fffffffffffff', Number.MAX_SAFE_INTEGER],
  ['0020000000000000', Number.POSITIVE_INFINITY],
  ['7fffffffffffffff', Number.POSITIVE_INFINITY],
  ['8000000000000000', Number.POSITIVE_INFINITY],
  ['ffffffffffffffff', Number.POSITIVE_INFINITY],
]
for (const [hex, value] of fields)
  test(`a 64-bit field of 0x${hex} is read as ${value}`, () => assert.equal(uint64(hex), value))

test('two halves make the same number as the field that holds them', () => {
  assert.equal(toNumber(0x1fffff, 0xffffffff), Number.MAX_SAFE_INTEGER)
  assert.equal(toNumber(0x200000, 0), Number.POSITIVE_INFINITY)
})

test('a 64-bit field is written as it is read, at any place', () => {
  for (const value of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 5, Number.MAX_SAFE_INTEGER]) {
    const bytes = Buffer.alloc(11, 0xee)
    setUint64(viewOf(bytes), 2, value)
    assert.equal(bytes.readBigUInt64BE(2), BigInt(value))
    assert.equal(getUint64(viewOf(bytes), 2), value)
    assert.equal(bytes.toString('hex', 0, 2) + bytes.toString('hex', 10), 'eeeeee', 'its neighbours are left')
  }
})

test('a view begins and ends where its bytes do', () => {
  const view = viewOf(Buffer.from('0011223344', 'hex').subarray(1, 3))
  assert.equal(view.getUint16(0), 0x1122)
  assert.throws(() => view.getUint8(2), RangeError)
})

const strings: [means: string, bytes: Uint8Array, text: string | undefined][] = [
  ['text', Buffer.from('base:allocation'), 'base:allocation'],
  ['nothing', Buffer.alloc(0), ''],
  ['characters of two, three and four bytes', Buffer.from('é€😀'), 'é€😀'],
  ['a byte order mark, which is a character as any other', Buffer.from('efbbbf61', 'hex'), '\ufeffa'],
  ['a NUL at the end', Buffer.from('disk\0'), undefined],
  ['a NUL alone', Buffer.from('\0'), undefined],
  ['a character that is cut short', Buffer.from('e282', 'hex'), undefined],
  ['a byte that begins nothing', Buffer.from('61ff62', 'hex'), undefined],
  ['a character in more bytes than it needs', Buffer.from('c0af', 'hex'), undefined],
  ['half of a surrogate pair', Buffer.from('eda080', 'hex'), undefined],
]
for (const [means, bytes, text] of strings)
  test(`a string ${text === undefined ? 'cannot' : 'can'} hold ${means}`, () =>
    assert.equal(getString(bytes), text))

test('a string that fits is sent whole', () => {
  assert.equal(Buffer.from(stringBytes('aé€', 6)).toString(), 'aé€')
})

test('a string that does not fit is cut between characters', () => {
  for (const [max, text] of [
    [5, 'aé'],
    [4, 'aé'],
    [3, 'aé'],
    [2, 'a'],
    [1, 'a'],
    [0, ''],
  ] as const)
    assert.equal(Buffer.from(stringBytes('aé€', max)).toString(), text, `at most ${max} bytes`)
})
