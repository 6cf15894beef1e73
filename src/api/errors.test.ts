import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError, isA, messageOf, NbdError, ProtocolError, propertyOf, stackOf } from './errors.js'
import { StuckError } from './server.js'

const { proxy, revoke } = Proxy.revocable(new Error('gone'), {})
revoke()
const textless: unknown[] = [
  Object.create(null),
  proxy,
  { toString: () => ({}) },
  {
    toString() {
      throw new Error('not me')
    },
  },
  Object.assign(new Error('x'), { message: {} }),
  Object.defineProperty(new Error('x'), 'message', {
    get() {
      throw new Error('not me')
    },
  }),
]

test('the message of what has no text says so', () => {
  for (const value of textless) assert.equal(messageOf(value), 'something without a text was thrown')
})

test('the message of anything else is its text', () => {
  const said = [new NbdError('EIO', 'no'), 'oops', undefined, null, 0, Symbol('why')].map(messageOf)
  assert.deepEqual(said, ['no', 'oops', 'undefined', 'null', '0', 'Symbol(why)'])
})

test('the stack of an error that has none is its message', () => {
  const error = new Error('no')
  assert.equal(stackOf(error), error.stack)
  assert.equal(stackOf(Object.assign(new Error('no'), { stack: undefined })), 'no')
  assert.equal(stackOf('oops'), 'oops')
  assert.equal(stackOf(proxy), 'something without a text was thrown')
})

test('what is a proxy that is revoked is of no kind, and has no property', () => {
  assert.deepEqual([isA(new ConfigError('x'), ConfigError), isA(new Error('x'), ConfigError)], [true, false])
  assert.deepEqual([isA(proxy, Error), isA(undefined, Error)], [false, false])
  assert.deepEqual(
    [propertyOf(proxy, 'code'), propertyOf({ code: 1 }, 'code'), propertyOf(1, 'x')],
    [undefined, 1, undefined],
  )
})

test('each error has a code that stays', () => {
  assert.deepEqual(
    [new ConfigError('x').code, new ProtocolError('x').code, new NbdError('EIO', 'x').code],
    ['NBD_CONFIG', 'NBD_PROTOCOL', 'EIO'],
  )
  assert.equal(new StuckError('x').code, 'NBD_STUCK')
})
