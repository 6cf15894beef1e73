import assert from 'node:assert/strict'
import { test } from 'node:test'
import { everySplit } from '../testing/every-split.js'
import { ByteQueue } from './byte-queue.js'

test('bytes that are there are taken at once, in order', async () => {
  const queue = new ByteQueue()
  queue.push(Buffer.from('abcdef'))
  assert.equal((await queue.take(2)).toString(), 'ab')
  assert.equal((await queue.take(3)).toString(), 'cde')
  assert.equal(queue.length, 1)
})

test('a take waits for its last byte, and no longer', async () => {
  const queue = new ByteQueue()
  let taken: string | undefined
  const take = queue.take(3).then((bytes) => {
    taken = bytes.toString()
  })
  for (const byte of 'ab') {
    queue.push(Buffer.from(byte))
    await Promise.resolve()
    assert.equal(taken, undefined)
  }
  queue.push(Buffer.from('cd'))
  await take
  assert.equal(taken, 'abc')
  assert.equal(queue.length, 1)
})

test('messages are the same however the bytes come', async () => {
  const text = 'the quick brown fox'
  for (const pieces of everySplit(Buffer.from(text))) {
    const queue = new ByteQueue()
    const words: string[] = []
    const reader = (async () => {
      for (const word of text.split(/(?= )/)) words.push((await queue.take(word.length)).toString())
    })()
    for (const piece of pieces) {
      queue.push(piece)
      await Promise.resolve()
    }
    await reader
    assert.equal(words.join(''), text)
  }
})

test('what was pushed may be used again at once', async () => {
  const queue = new ByteQueue()
  const chunk = Buffer.from('abcd')
  queue.push(chunk)
  const before = await queue.take(2)
  chunk.fill('x')
  queue.push(chunk)
  assert.equal(`${before}${await queue.take(6)}`, 'abcdxxxx')
})

test('what was taken is not changed by what comes later', async () => {
  const queue = new ByteQueue()
  queue.push(Buffer.from('first'))
  const first = await queue.take(5)
  for (let count = 0; count < 200; count++) queue.push(Buffer.from('later'))
  assert.equal(first.toString(), 'first')
})

test('a take of no bytes is served from an empty queue', async () => {
  assert.equal((await new ByteQueue().take(0)).length, 0)
})

test('a megabyte taken in odd pieces is the megabyte that was pushed', async () => {
  const sent = Buffer.from(Array.from({ length: 2 ** 20 }, (_, index) => (index * 31) & 0xff))
  const queue = new ByteQueue()
  const taken: Buffer[] = []
  for (let at = 0; at < sent.length; at += 4099) {
    queue.push(sent.subarray(at, at + 4099))
    while (queue.length >= 1021) taken.push(await queue.take(1021))
  }
  taken.push(queue.takeRest())
  assert.ok(Buffer.concat(taken).equals(sent))
  assert.equal(queue.length, 0)
})

test('the end fails a take that waits', async () => {
  const queue = new ByteQueue()
  queue.push(Buffer.from('ab'))
  const take = queue.take(3)
  queue.end(new Error('gone'))
  await assert.rejects(take, new Error('gone'))
})

test('what came before the end can still be taken, and no more than that', async () => {
  const queue = new ByteQueue()
  queue.push(Buffer.from('abc'))
  queue.end(new Error('gone'))
  queue.end(new Error('gone again'))
  assert.equal((await queue.take(2)).toString(), 'ab')
  await assert.rejects(queue.take(2), new Error('gone'))
  assert.equal(queue.takeRest().toString(), 'c')
})

test('the rest of an empty queue is empty', () => {
  assert.equal(new ByteQueue().takeRest().length, 0)
})
