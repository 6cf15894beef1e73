import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NbdError, type NbdErrorCode } from '../api/errors.js'
import { errorName, errorNumber } from './errno.js'

const numbers: Record<NbdErrorCode, number> = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
}
for (const [code, number] of Object.entries(numbers))
  test(`${code} is ${number} on the wire, and has its name in the log`, () => {
    assert.equal(errorNumber(new NbdError(code as NbdErrorCode, 'no')), number)
    assert.equal(errorName(number), code)
  })

const near: Record<string, number> = {
  EACCES: 1,
  EROFS: 1,
  EDQUOT: 28,
  EFBIG: 28,
  EOPNOTSUPP: 95,
}
for (const [code, number] of Object.entries(near))
  test(`${code} of the system becomes ${errorName(number)}`, () =>
    assert.equal(errorNumber(Object.assign(new Error('no'), { code })), number))

const others: [means: string, thrown: unknown][] = [
  ['an error without a code', new Error('no')],
  ['a code that nobody knows', { code: 'ENOENT' }],
  ['a number as its code', { code: 22 }],
  ['a code that every object has', { code: 'toString' }],
  ['a string', 'EINVAL'],
  ['nothing', undefined],
  ['null', null],
]
for (const [means, thrown] of others)
  test(`what was thrown with ${means} is EIO`, () => assert.equal(errorNumber(thrown), 5))

test('a number without a name is named by itself', () => assert.equal(errorName(7), 'error 7'))
