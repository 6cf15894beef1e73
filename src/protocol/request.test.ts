import assert from 'node:assert/strict'
import { test } from 'node:test'
import { viewOf } from './bytes.js'
import { decodeRequest, emptyRequest, endsWithDisconnect, type Request } from './request.js'

/** Messages in the notation of the NBD spec: hex, a field at a time. */
function hex(...fields: string[]): Buffer {
  return Buffer.from(fields.join(''), 'hex')
}

function decode(bytes: Buffer, extended = false): Request | undefined {
  const request = emptyRequest()
  return decodeRequest(viewOf(bytes), 0, extended, request) ? request : undefined
}

test('a request is decoded field by field', () => {
  const bytes = hex('25609513', '0001', '0006', '0123456789abcdef', '0000000200000003', 'fffffe00')
  assert.deepEqual(decode(bytes), {
    flags: 1,
    type: 6,
    cookieHigh: 0x01234567,
    cookieLow: 0x89abcdef,
    offsetHigh: 2,
    offsetLow: 3,
    offset: 2 * 2 ** 32 + 3,
    length: 0xfffffe00,
  })
})

test('an extended request has 64 bits of length', () => {
  const bytes = hex('21e41c71', '0020', '0001', 'ffffffffffffffff', '0000000000001000', '0000000100000200')
  const request = decode(bytes, true)
  assert.equal(request?.length, 2 ** 32 + 512)
  assert.equal(request.offset, 4096)
  assert.equal(request.flags, 0x20)
  assert.deepEqual([request.cookieHigh, request.cookieLow], [0xffffffff, 0xffffffff])
})

test('a request is decoded where it lies, between others', () => {
  const one = hex('25609513', '0000', '0000', '0000000000000001', '0000000000000200', '00000400')
  const two = hex('25609513', '0000', '0001', '0000000000000002', '0000000000000600', '00000800')
  const request = emptyRequest()
  const view = viewOf(Buffer.concat([hex('ee'), one, two]).subarray(1))
  assert.ok(decodeRequest(view, 28, false, request))
  assert.deepEqual([request.type, request.cookieLow, request.offset, request.length], [1, 2, 0x600, 0x800])
  assert.ok(decodeRequest(view, 0, false, request))
  assert.deepEqual([request.type, request.cookieLow, request.offset, request.length], [0, 1, 0x200, 0x400])
})

test('an offset or a length that no number holds is infinite, and the offset is kept as it came', () => {
  const bytes = hex('21e41c71', '0000', '0000', '0000000000000000', '8000000000000001', 'ffffffffffffffff')
  const request = decode(bytes, true)
  assert.equal(request?.offset, Number.POSITIVE_INFINITY)
  assert.equal(request.length, Number.POSITIVE_INFINITY)
  assert.deepEqual([request.offsetHigh, request.offsetLow], [0x80000000, 1])
})

const magics: [means: string, magic: string, extended: boolean][] = [
  ['zeroes', '00000000', false],
  ['the historic magic', '12560953', false],
  ['the magic of a reply', '67446698', false],
  ['an extended request where none was negotiated', '21e41c71', false],
  ['a compact request after extended headers', '25609513', true],
]
for (const [means, magic, extended] of magics)
  test(`${means} is no request`, () => {
    assert.equal(decode(Buffer.concat([hex(magic), Buffer.alloc(28)]), extended), undefined)
  })

test('the last bytes are a DISC, or they are not', () => {
  const read = hex('25609513', '0000', '0000', '0000000000000001', '0000000000000200', '00000400')
  const disc = hex('25609513', '0000', '0002', '0000000000000000', '0000000000000000', '00000000')
  const longDisc = hex('21e41c71', '0000', '0002', '0000000000000000', '0000000000000000', '0000000000000000')
  assert.equal(endsWithDisconnect(Buffer.concat([read, disc]), false), true)
  assert.equal(endsWithDisconnect(Buffer.concat([disc, read]), false), false)
  assert.equal(endsWithDisconnect(disc.subarray(1), false), false)
  assert.equal(endsWithDisconnect(longDisc, true), true)
  assert.equal(endsWithDisconnect(longDisc, false), false)
  assert.equal(endsWithDisconnect(Buffer.alloc(0), false), false)
})
