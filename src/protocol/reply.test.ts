import assert from 'node:assert/strict'
import { test } from 'node:test'
import { viewOf } from './bytes.js'
import {
  dataHeaderBytes,
  encodeRuns,
  putChunk,
  putDataHeader,
  putDone,
  putError,
  putHole,
  putSimpleReply,
  putStatusHeader,
  type ReplyMode,
  replyHeaderBytesMax,
} from './reply.js'
import { emptyRequest, type Request } from './request.js'

const request: Request = {
  ...emptyRequest(),
  cookieHigh: 0x80000000,
  cookieLow: 7,
  offsetHigh: 0xffffffff,
  offsetLow: 0xfffffff0,
}

test('a simple reply is magic, error and cookie', () => {
  const bytes = Buffer.alloc(20, 0xee)
  assert.equal(putSimpleReply(viewOf(bytes), 2, request, 22), 18)
  assert.equal(bytes.toString('hex'), 'eeee67446698000000168000000000000007eeee')
})

test('a structured chunk is magic, flags, type, cookie and length', () => {
  const bytes = Buffer.alloc(22, 0xee)
  assert.equal(putChunk(viewOf(bytes), 1, 'structured', request, 1, 0x8001, 6), 21)
  assert.equal(bytes.toString('hex'), 'ee668e33ef00018001800000000000000700000006ee')
})

test('an extended chunk repeats the offset of its request and has 64 bits of length', () => {
  const bytes = Buffer.alloc(34, 0xee)
  assert.equal(putChunk(viewOf(bytes), 1, 'extended', request, 0, 1, 2 ** 33), 33)
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

const modes: ReplyMode[] = ['simple', 'structured', 'extended']

/** The bytes that `put` writes, in hex, from the position 3 of a buffer. */
function written(put: (view: DataView, at: number) => number): string {
  const bytes = Buffer.alloc(100, 0xee)
  const end = put(viewOf(bytes), 3)
  assert.ok(bytes.subarray(0, 3).every((byte) => byte === 0xee))
  assert.ok(bytes.subarray(end).every((byte) => byte === 0xee))
  return bytes.toString('hex', 3, end)
}

const cookie = '8000000000000007'
const simple = (error: string) => `67446698${error}${cookie}`
const structured = (flags: string, type: string, length: string) =>
  `668e33ef${flags}${type}${cookie}${length}`
const extended = (flags: string, type: string, length: string) =>
  `6e8a278c${flags}${type}${cookie}fffffffffffffff0${length}`

test('success without data is a simple reply, and a chunk with extended headers', () => {
  const done = modes.map((mode) => written((view, at) => putDone(view, at, mode, request)))
  const expected = [simple('00000000'), simple('00000000'), extended('0001', '0000', '0000000000000000')]
  assert.deepEqual(done, expected)
})

test('an error has its message where the reply is a chunk', () => {
  const text = Buffer.from('no')
  const errors = modes.map((mode) => written((view, at) => putError(view, at, mode, request, 28, text)))
  assert.deepEqual(errors, [
    simple('0000001c'),
    `${structured('0001', '8001', '00000008')}0000001c00026e6f`,
    `${extended('0001', '8001', '0000000000000008')}0000001c00026e6f`,
  ])
})

test('the header of data counts the data and says where the data begins', () => {
  const header = (mode: ReplyMode) =>
    written((view, at) => putDataHeader(view, at, mode, request, 2 ** 32, 512, false))
  assert.equal(header('structured'), `${structured('0000', '0001', '00000208')}0000000100000000`)
  assert.equal(header('extended'), `${extended('0000', '0001', '0000000000000208')}0000000100000000`)
  for (const mode of ['structured', 'extended'] as const)
    assert.equal(header(mode).length, 2 * dataHeaderBytes(mode))
  assert.equal(dataHeaderBytes('simple'), 16)
})

test('a hole is an offset and a length', () => {
  const hole = (last: boolean) =>
    written((view, at) => putHole(view, at, 'structured', request, 4096, 512, last))
  assert.equal(hole(false), `${structured('0000', '0002', '0000000c')}000000000000100000000200`)
  assert.equal(hole(true), `${structured('0001', '0002', '0000000c')}000000000000100000000200`)
})

test('block status is a context and its runs, with 32 or 64 bits each', () => {
  const status = (mode: ReplyMode) =>
    written((view, at) => putStatusHeader(view, at, mode, request, 5, 2, true)) +
    Buffer.from(encodeRuns(mode, [512, 0, 1024, 0x80000003 | 0])).toString('hex')
  assert.equal(
    status('structured'),
    `${structured('0001', '0005', '00000014')}0000000500000200000000000000040080000003`,
  )
  assert.equal(
    status('extended'),
    `${extended('0001', '0006', '0000000000000028')}0000000500000002` +
      '0000000000000200000000000000000000000000000004000000000080000003',
  )
})

test('no header is longer than the longest', () => {
  for (const mode of modes) assert.ok(dataHeaderBytes(mode) <= replyHeaderBytesMax)
  const hole = written((view, at) => putHole(view, at, 'extended', request, 0, 1, true))
  assert.equal(hole.length / 2, replyHeaderBytesMax)
})
