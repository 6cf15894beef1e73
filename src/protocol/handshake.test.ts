import assert from 'node:assert/strict'
import { test } from 'node:test'
import { infoData, metaContextData } from '../testing/raw-client.js'
import {
  decodeInfo,
  decodeMetaContextQuery,
  decodeName,
  decodeOptionHeader,
  encodeExport,
  encodeGreeting,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoString,
  encodeMetaContext,
  encodeOldstyle,
  encodeOptionReply,
  encodeServer,
} from './handshake.js'
import { queriesMax } from './limits.js'

const messages: [means: string, message: Buffer, ...fields: string[]][] = [
  ['the greeting', encodeGreeting(3), '4e42444d41474943', '49484156454f5054', '0003'],
  [
    'the oldstyle greeting',
    encodeOldstyle(2 ** 33, 5),
    ...['4e42444d41474943', '0000420281861253', '0000000200000000', '00000005', '00'.repeat(124)],
  ],
  ['an export', encodeExport(2 ** 33, 5, true), '0000000200000000', '0005'],
  [
    'an export with its zeroes',
    encodeExport(2 ** 33, 5, false),
    ...['0000000200000000', '0005', '00'.repeat(124)],
  ],
  [
    'an option reply without data',
    encodeOptionReply(7, 1),
    '0003e889045565a9',
    '00000007',
    '00000001',
    '00000000',
  ],
  [
    'an option reply that is an error, with its message',
    encodeOptionReply(0x12345678, 0x80000001, Buffer.from('no')),
    ...['0003e889045565a9', '12345678', '80000001', '00000002', '6e6f'],
  ],
  ['an export in a list', encodeServer('a', ''), '00000001', '61'],
  ['the default export in a list', encodeServer('', ''), '00000000'],
  ['a described export in a list', encodeServer('a', 'é'), '00000001', '61', 'c3a9'],
  ['NBD_INFO_EXPORT', encodeInfoExport(2 ** 33, 0xffff), '0000', '0000000200000000', 'ffff'],
  ['NBD_INFO_NAME', encodeInfoString(1, 'disk'), '0001', '6469736b'],
  ['an empty NBD_INFO_NAME', encodeInfoString(1, ''), '0001'],
  [
    'NBD_INFO_BLOCK_SIZE',
    encodeInfoBlockSize(1, 4096, 0xffffffff),
    '0003',
    '00000001',
    '00001000',
    'ffffffff',
  ],
  ['a metadata context', encodeMetaContext(1, 'a:b'), '00000001', '613a62'],
]
for (const [means, message, ...fields] of messages)
  test(`${means} is written as the spec lays it out`, () =>
    assert.equal(message.toString('hex'), fields.join('')))

test('strings of more than 4096 bytes are cut between characters', () => {
  const long = '€'.repeat(2000)
  assert.equal(encodeInfoString(2, long).toString('utf8', 2), '€'.repeat(1365))
  assert.equal(encodeMetaContext(1, long).toString('utf8', 4), '€'.repeat(1365))
  const server = encodeServer('', long)
  assert.equal(server.toString('utf8', 4), '€'.repeat(1365))
})

test('an option header is magic, option and length', () => {
  const header = Buffer.from('49484156454f5054' + '000000ff' + '80000000', 'hex')
  assert.deepEqual(decodeOptionHeader(header), { option: 0xff, length: 0x80000000 })
})

test('an option header with a wrong bit in its magic is none', () => {
  const header = Buffer.from('49484156454f5054' + '00000003' + '00000000', 'hex')
  for (let bit = 0; bit < 64; bit++) {
    const wrong = Buffer.from(header)
    wrong[bit >> 3] = (wrong[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    assert.equal(decodeOptionHeader(wrong), undefined, `bit ${bit}`)
  }
})

test('a name of 4096 bytes is taken, and one byte more is not', () => {
  assert.deepEqual(decodeName(Buffer.alloc(4096, 'a')), { text: 'a'.repeat(4096) })
  assert.deepEqual(decodeName(Buffer.alloc(4097, 'a')), {
    wrong: 'a name of 4097 bytes: the longest is 4096',
  })
})

test('a name with a NUL, or that is not UTF-8, is wrong', () => {
  const wrong = { wrong: 'a name is not UTF-8, or holds a NUL' }
  assert.deepEqual(decodeName(Buffer.from('a\0')), wrong)
  assert.deepEqual(decodeName(Buffer.from('ff', 'hex')), wrong)
})

test('NBD_OPT_GO has a name and information requests', () => {
  assert.deepEqual(decodeInfo(infoData('disk', [3, 1, 0xffff])), {
    name: { text: 'disk' },
    requests: [3, 1, 0xffff],
  })
  assert.deepEqual(decodeInfo(infoData('')), { name: { text: '' }, requests: [] })
})

test('NBD_OPT_GO of any other length than its fields say is wrong', () => {
  const data = infoData('disk', [3, 1])
  for (let length = 0; length < data.length; length++)
    assert.ok('wrong' in decodeInfo(data.subarray(0, length)), `cut to ${length}`)
  assert.ok('wrong' in decodeInfo(Buffer.concat([data, Buffer.alloc(1)])))
})

test('NBD_OPT_GO with a name longer than its data is wrong', () => {
  for (const length of [1, 0x7fffffff, 0xffffffff]) {
    const data = infoData('')
    data.writeUInt32BE(length, 0)
    assert.deepEqual(decodeInfo(data), { wrong: `a name of ${length} bytes in 6 bytes of data` })
  }
})

test('NBD_OPT_SET_META_CONTEXT has a name and queries', () => {
  assert.deepEqual(decodeMetaContextQuery(metaContextData('disk', ['base:allocation', '', 'x-a:b'])), {
    name: { text: 'disk' },
    queries: [{ text: 'base:allocation' }, { text: '' }, { text: 'x-a:b' }],
  })
  assert.deepEqual(decodeMetaContextQuery(metaContextData('', [])), { name: { text: '' }, queries: [] })
})

test('NBD_OPT_SET_META_CONTEXT of any other length than its fields say is wrong', () => {
  const data = metaContextData('disk', ['a:b', 'c:'])
  for (let length = 0; length < data.length; length++)
    assert.ok('wrong' in decodeMetaContextQuery(data.subarray(0, length)), `cut to ${length}`)
  assert.deepEqual(decodeMetaContextQuery(Buffer.concat([data, Buffer.alloc(1)])), {
    wrong: '1 bytes follow the last query',
  })
})

test('NBD_OPT_SET_META_CONTEXT with a name or a query longer than its data is wrong', () => {
  const data = metaContextData('disk', ['a:b'])
  for (const length of [5, 0x80000000, 0xffffffff])
    for (const at of [0, 12]) {
      const lying = Buffer.from(data)
      lying.writeUInt32BE(at === 0 ? Math.max(length, 12) : length, at)
      assert.ok('wrong' in decodeMetaContextQuery(lying), `${length} at ${at}`)
    }
})

test('as many queries as the limit are taken, and one more is too many', () => {
  const most = decodeMetaContextQuery(metaContextData('', Array(queriesMax).fill('a:b')))
  assert.equal('queries' in most && most.queries.length, queriesMax)
  for (const count of [queriesMax + 1, 0xffffffff]) {
    const data = metaContextData('', [])
    data.writeUInt32BE(count, 4)
    const result = decodeMetaContextQuery(data)
    assert.equal('tooMany' in result && result.tooMany, true)
  }
})

test('what is wrong with one query does not hide the others', () => {
  const data = metaContextData('disk', ['a:b', 'c:\0'])
  assert.deepEqual(decodeMetaContextQuery(data), {
    name: { text: 'disk' },
    queries: [{ text: 'a:b' }, { wrong: 'a name is not UTF-8, or holds a NUL' }],
  })
})
