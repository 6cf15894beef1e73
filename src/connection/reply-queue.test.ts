import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { describe, test } from 'node:test'
import { zeroes } from '../api/zeroes.js'
import type { ReplyMode } from '../protocol/reply.js'
import { emptyRequest, type Request } from '../protocol/request.js'
import { BufferPool } from './buffer-pool.js'
import { ReplyQueue } from './reply-queue.js'
import { copyBytesMax, outputBytes, outputBytesMax } from './tuning.js'

/** A socket that takes written data at once, or when the test says so. */
class Socket extends Duplex {
  /** The parts of each write to the system. */
  readonly writes: Uint8Array[][] = []
  holding = false
  #held: (() => void) | undefined

  override _read() {}

  override _write(chunk: Uint8Array, _encoding: string, done: () => void) {
    this.#take([chunk], done)
  }

  override _writev(parts: { chunk: Uint8Array }[], done: () => void) {
    this.#take(
      parts.map(({ chunk }) => chunk),
      done,
    )
  }

  get written(): Buffer {
    return Buffer.concat(this.writes.flat())
  }

  /** The system has taken the written data. */
  settle() {
    this.holding = false
    const held = this.#held
    this.#held = undefined
    held?.()
  }

  #take(parts: Uint8Array[], done: () => void) {
    this.writes.push(parts)
    if (this.holding) this.#held = done
    else done()
  }
}

function queue(mode: ReplyMode) {
  const socket = new Socket()
  const pool = new BufferPool()
  let taken = 0
  const replies = new ReplyQueue({ stream: socket, copies: true }, pool, mode, () => void taken++)
  return { socket, pool, replies, taken: () => taken }
}

const read = (offset: number, length: number, flags = 0): Request => ({
  ...emptyRequest(),
  ...{ cookieLow: 7, offset, offsetLow: offset, length, flags },
})
const DF = 4

/** The bytes on the wire after `fill`, in hex. */
function wire(mode: ReplyMode, fill: (replies: ReplyQueue) => void): string {
  const { socket, replies } = queue(mode)
  fill(replies)
  replies.flush()
  return socket.written.toString('hex')
}

const cookie = '0000000000000007'
const simple = (error = '00000000') => `67446698${error}${cookie}`
const chunk = (flags: number, type: string, length: string) => `668e33ef000${flags}${type}${cookie}${length}`
const extended = (flags: number, type: string, length: string) =>
  `6e8a278c000${flags}${type}${cookie}00000000000003e8${length}`

describe('a reply is laid out as the spec says', () => {
  const request = read(1000, 4)
  const data = Buffer.from('abcd')
  const cases: [means: string, mode: ReplyMode, fill: (replies: ReplyQueue) => void, ...hex: string[]][] = [
    ['success, simple', 'simple', (replies) => replies.done(request), simple()],
    ['success, structured', 'structured', (replies) => replies.done(request), simple()],
    [
      'success, extended',
      'extended',
      (replies) => replies.done(request),
      extended(1, '0000', '0'.repeat(16)),
    ],
    ['an error, simple', 'simple', (replies) => replies.error(request, 22, 'no'), simple('00000016')],
    [
      'an error, structured',
      'structured',
      (replies) => replies.error(request, 22, 'no'),
      ...[chunk(1, '8001', '00000008'), '00000016', '0002', '6e6f'],
    ],
    [
      'an error, extended',
      'extended',
      (replies) => replies.error(request, 22, ''),
      ...[extended(1, '8001', '0000000000000006'), '00000016', '0000'],
    ],
    ['data, simple', 'simple', (replies) => replies.data(request, data), simple(), '61626364'],
    [
      'data, structured',
      'structured',
      (replies) => replies.data(request, data),
      ...[chunk(1, '0001', '0000000c'), '00000000000003e8', '61626364'],
    ],
    [
      'data, extended',
      'extended',
      (replies) => replies.data(request, data),
      ...[extended(1, '0001', '000000000000000c'), '00000000000003e8', '61626364'],
    ],
    [
      'block status, structured',
      'structured',
      (replies) => replies.status(request, 5, [0xffff0000, 3], true),
      ...[chunk(1, '0005', '0000000c'), '00000005', 'ffff0000', '00000003'],
    ],
    [
      'block status of two contexts, extended',
      'extended',
      (replies) => {
        replies.status(request, 5, [2 ** 33, 3, 1, 0], false)
        replies.status(request, 6, [1, 1], true)
      },
      ...[extended(0, '0006', '0000000000000028'), '00000005', '00000002'],
      ...['0000000200000000', '0000000000000003', '0000000000000001', '0000000000000000'],
      ...[extended(1, '0006', '0000000000000018'), '00000006', '00000001'],
      ...['0000000000000001', '0000000000000001'],
    ],
  ]
  for (const [means, mode, fill, ...hex] of cases)
    test(means, () => assert.equal(wire(mode, fill), hex.join('')))

  test('flags of a context with their highest bit set have 32 bits, whatever sign JavaScript gives them', () => {
    const fill = (replies: ReplyQueue) => replies.status(request, 1, [512, 1 << 31], true)
    assert.ok(wire('structured', fill).endsWith('00000200' + '80000000'))
    assert.ok(wire('extended', fill).endsWith('0000000000000200' + '0000000080000000'))
  })

  test('a message of an error is cut at 4096 bytes, between characters', () => {
    const hex = wire('structured', (replies) => replies.error(request, 5, '€'.repeat(2000)))
    assert.equal(hex.slice(0, 52), `${chunk(1, '8001', '00001005')}000000050fff`)
    assert.equal(hex.length / 2, 20 + 6 + 4095)
  })
})

/** Chunks of a structured reply: type, flags, offset, and length of content. */
function chunksOf(hex: string): [type: number, done: boolean, offset: number, length: number][] {
  const bytes = Buffer.from(hex, 'hex')
  const chunks: [number, boolean, number, number][] = []
  for (let at = 0; at < bytes.length; ) {
    const type = bytes.readUInt16BE(at + 6)
    const length = bytes.readUInt32BE(at + 16)
    const content = type === 2 ? bytes.readUInt32BE(at + 28) : length - 8
    chunks.push([type, bytes.readUInt16BE(at + 4) === 1, Number(bytes.readBigUInt64BE(at + 20)), content])
    at += 20 + length
  }
  return chunks
}

describe('zeroes in a structured reply', () => {
  const data = (length: number) => Buffer.alloc(length, 1)
  const some = (length: number) => [zeroes(length)].flat()
  const cases: [
    means: string,
    parts: readonly Uint8Array[],
    ...chunks: [number, boolean, number, number][],
  ][] = [
    ['are a hole where they are all there is', some(4096), [2, true, 1000, 4096]],
    ['are one hole, however many views they are', some(3 * 2 ** 20), [2, true, 1000, 3 * 2 ** 20]],
    ['are a hole before data', [...some(512), data(88)], [2, false, 1000, 512], [1, true, 1512, 88]],
    ['are a hole after data', [data(88), ...some(512)], [1, false, 1000, 88], [2, true, 1088, 512]],
    [
      'take turns with data',
      [data(10), data(20), ...some(1024), data(5), ...some(512), ...some(600)],
      ...([
        [1, false, 1000, 30],
        [2, false, 1030, 1024],
        [1, false, 2054, 5],
        [2, true, 2059, 1112],
      ] as [number, boolean, number, number][]),
    ],
    ['of less than 512 bytes are data', [data(10), ...some(511), data(10)], [1, true, 1000, 531]],
  ]
  for (const [means, parts, ...chunks] of cases)
    test(means, () => {
      const length = parts.reduce((sum, part) => sum + part.length, 0)
      const hex = wire('structured', (replies) => replies.data(read(1000, length), parts))
      assert.deepEqual(chunksOf(hex), chunks)
    })

  test('are a hole where they are one view, too', () => {
    const hex = wire('structured', (replies) => replies.data(read(0, 4096), zeroes(4096)))
    assert.equal(hex, `${chunk(1, '0002', '0000000c')}0000000000000000${'00001000'}`)
  })

  for (const place of ['first', 'between', 'last'] as const)
    test(`make no chunk of nothing where an empty view stands ${place}`, () => {
      const empty = new Uint8Array(0)
      const parts = {
        first: [empty, ...some(512), data(512)],
        between: [...some(512), empty, ...some(512), empty, data(512)],
        last: [data(512), ...some(512), empty],
      }[place]
      const length = parts.reduce((sum, part) => sum + part.length, 0)
      const chunks = chunksOf(wire('structured', (replies) => replies.data(read(0, length), parts)))
      assert.deepEqual(
        chunks.filter(([, , , content]) => content === 0),
        [],
      )
      assert.equal(
        chunks.reduce((sum, [, , , content]) => sum + content, 0),
        length,
      )
      assert.equal(chunks.at(-1)?.[1], true)
    })

  test('are sent as they are in one chunk where the client takes no fragments', () => {
    const parts = [data(512), ...some(1024), data(512)]
    const hex = wire('structured', (replies) => replies.data(read(1000, 2048, DF), parts))
    assert.deepEqual(chunksOf(hex), [[1, true, 1000, 2048]])
    assert.equal(hex.slice(56), Buffer.concat(parts).toString('hex'))
  })

  test('are sent as they are in a simple reply', () => {
    const parts = [data(512), ...some(1024)]
    const hex = wire('simple', (replies) => replies.data(read(1000, 1536), parts))
    assert.equal(hex, simple() + Buffer.concat(parts).toString('hex'))
  })
})

describe('a batch', () => {
  test('is one write of one buffer, however many replies it has', () => {
    const { socket, replies } = queue('simple')
    for (let count = 0; count < 100; count++) replies.data(read(0, 100), Buffer.alloc(100, 1))
    assert.equal(replies.batchBytes, 100 * 116)
    assert.equal(socket.writes.length, 0, 'nothing is written before the flush')
    replies.flush()
    assert.deepEqual(
      socket.writes.map((parts) => parts.length),
      [1],
    )
    assert.equal(socket.written.length, 100 * 116)
    assert.equal(replies.batchBytes, 0)
  })

  test('sends large data as it is, between the headers around it', () => {
    const { socket, replies } = queue('simple')
    const large = Buffer.alloc(copyBytesMax + 1, 2)
    replies.done(read(0, 0))
    replies.data(read(0, large.length), large)
    replies.done(read(0, 0))
    replies.flush()
    assert.equal(socket.written.length, 48 + large.length)
    assert.equal(socket.written.indexOf(large), 32)
    assert.ok(
      socket.writes.flat().some((part) => part.buffer === large.buffer && part.length === large.length),
    )
  })

  test('of more than an output buffer holds is whole and in order', () => {
    const { socket, replies } = queue('simple')
    const sent: Buffer[] = []
    for (let count = 0; count < 10; count++) {
      const data = Buffer.alloc(outputBytes / 4 + count, count)
      replies.data(read(0, data.length), data)
      sent.push(Buffer.from(simple(), 'hex'), data)
    }
    replies.flush()
    assert.ok(socket.written.equals(Buffer.concat(sent)))
  })

  test('of nothing is not written', () => {
    const { socket, replies } = queue('simple')
    replies.flush()
    assert.equal(socket.writes.length, 0)
  })

  test('that is thrown away is not written, and the queue is of use no more', () => {
    const { socket, replies } = queue('simple')
    replies.data(read(0, 50_000), Buffer.alloc(50_000))
    replies.discard()
    replies.flush()
    assert.equal(socket.writes.length, 0)
    assert.equal(replies.pendingBytes, 0)
  })
})

describe('memory that was lent for data', () => {
  /** True where the pool would now give the memory to somebody else. */
  const isFree = (pool: BufferPool, { buffer, length }: Uint8Array) => {
    const views = Array.from({ length: 20 }, () => pool.take(length))
    for (const view of views) pool.give(view)
    return views.some((view) => view.buffer === buffer)
  }

  test('is free at once where the data was copied', () => {
    const { pool, replies } = queue('simple')
    const small = pool.lend(copyBytesMax)
    replies.data(read(0, small.length), small)
    assert.equal(isFree(pool, small), true)
  })

  test('is not free before the socket has taken the data', async () => {
    const { socket, pool, replies } = queue('simple')
    socket.holding = true
    const large = pool.lend(copyBytesMax + 1).fill(9)
    replies.data(read(0, large.length), large)
    assert.equal(isFree(pool, large), false)
    replies.flush()
    assert.equal(isFree(pool, large), false)
    socket.settle()
    await new Promise(setImmediate)
    assert.equal(isFree(pool, large), true)
    assert.equal(socket.written.indexOf(9), 16)
  })

  test('is not free when the socket has taken what was written before the data', async () => {
    const { socket, pool, replies } = queue('simple')
    socket.holding = true
    replies.done(read(0, 0))
    replies.flush()
    const large = pool.lend(copyBytesMax + 1).fill(9)
    replies.data(read(0, large.length), large)
    socket.settle()
    await new Promise(setImmediate)
    assert.equal(isFree(pool, large), false, 'its data is queued, and not yet written')
    replies.flush()
    assert.equal(isFree(pool, large), true)
  })

  test('is free once, where several views of it are sent', () => {
    const { pool, replies } = queue('simple')
    const lent = pool.lend(65536)
    replies.data(read(0, 65536), [lent.subarray(0, 100), lent.subarray(100, 60_000), lent.subarray(60_000)])
    assert.equal(isFree(pool, lent), false)
    replies.flush()
    const views = Array.from({ length: 20 }, () => pool.take(65536))
    assert.equal(views.filter(({ buffer }) => buffer === lent.buffer).length, 1)
  })

  test('is left alone where it is the memory of a device', () => {
    const { pool, replies } = queue('simple')
    const own = new Uint8Array(65536)
    replies.data(read(0, own.length), own)
    replies.flush()
    assert.equal(isFree(pool, own), false)
  })
})

describe('an output buffer', () => {
  test('is not used by another connection when the socket has taken what was written before', async () => {
    const { socket, pool, replies } = queue('simple')
    const other = new ReplyQueue({ stream: new Socket(), copies: true }, pool, 'simple', () => {})
    socket.holding = true
    replies.done(read(0, 0))
    replies.flush()
    // More than a buffer holds: the first buffer is full and waits for the flush.
    const data = Buffer.alloc(1000, 'a')
    for (let count = 0; count < 100; count++) replies.data(read(0, data.length), data)
    socket.settle()
    await new Promise(setImmediate)
    for (let count = 0; count < 200; count++) other.data(read(0, data.length), Buffer.alloc(1000, 'b'))
    replies.flush()
    assert.equal(socket.written.includes('b'), false)
    assert.equal(socket.written.length, 16 + 100 * 1016)
  })
})

describe('a socket that takes replies slowly', () => {
  test('congests the queue beyond the limit, until it has taken everything', async () => {
    const { socket, replies, taken } = queue('simple')
    socket.holding = true
    const half = Buffer.alloc(outputBytesMax / 2)
    replies.data(read(0, half.length), half)
    replies.flush()
    assert.equal(replies.congested, false)
    replies.data(read(0, half.length), half)
    replies.flush()
    assert.equal(replies.congested, true)
    assert.ok(replies.pendingBytes > outputBytesMax)
    assert.equal(taken(), 0)
    socket.settle()
    await new Promise(setImmediate)
    assert.equal(replies.congested, false)
    assert.equal(replies.pendingBytes, 0)
    assert.equal(taken() > 0, true)
  })

  test('that took everything at once calls for nothing more to be done', () => {
    const { replies } = queue('simple')
    replies.data(read(0, 3 * outputBytesMax), Buffer.alloc(3 * outputBytesMax))
    replies.flush()
    assert.equal(replies.congested, false)
    assert.equal(replies.pendingBytes, 0)
  })
})
