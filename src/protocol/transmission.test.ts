import assert from 'node:assert/strict'
import { test } from 'node:test'
import { viewOf } from './bytes.js'
import { decodeRequest, emptyRequest, putChunk, putSimpleReply, type Request } from './transmission.js'

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

const request: Request = {
  ...emptyRequest(),
  cookieHigh: 0x80000000,
  cookieLow: 7,
  offsetHigh: 0xffffffff,
  offsetLow: 0xfffffff0,
}

test('a simple reply is magic, error and cookie', () => {
  const bytes = Buffer.alloc(20, 0xee)
  putSimpleReply(viewOf(bytes), 2, request, 22)
  assert.equal(bytes.toString('hex'), 'eeee67446698000000168000000000000007eeee')
})

test('a structured chunk is magic, flags, type, cookie and length', () => {
  const bytes = Buffer.alloc(22, 0xee)
  assert.equal(putChunk(viewOf(bytes), 1, false, request, 1, 0x8001, 6), 21)
  assert.equal(bytes.toString('hex'), 'ee668e33ef00018001800000000000000700000006ee')
})

test('an extended chunk repeats the offset of its request and has 64 bits of length', () => {
  const bytes = Buffer.alloc(34, 0xee)
  assert.equal(putChunk(viewOf(bytes), 1, true, request, 0, 1, 2 ** 33), 33)
  const expected = [
    'ee',
    '6e8a278c',
    '0000',
    '0001',
    '8000000000000007',
    'fffffffffffffff0',
    '0000000200000000',
    'ee',
  ]
  assert.equal(bytes.toString('hex'), expected.join(''))
})
