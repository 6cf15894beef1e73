import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { describe, test } from 'node:test'
import { BusyPoll } from '../net/busy-poll.js'
import { HandshakeStream } from './handshake-stream.js'
import { aheadBytesMax, untakenBytesMax, untakenTotalBytesMax } from './tuning.js'

/** A client that takes data when the test says so. */
class SlowClient extends Duplex {
  #take: (() => void) | undefined
  resumed = 0

  override _read() {}
  override _write(_chunk: unknown, _encoding: string, done: () => void) {
    this.#take = done
  }

  takeOne(): void {
    const take = this.#take
    this.#take = undefined
    take?.()
  }
}

function handshake(all = { bytes: 0 }) {
  const stream = new SlowClient()
  const transport = { stream, copies: false, resume: () => void stream.resumed++ }
  return { all, stream, shake: new HandshakeStream(transport, all, new BusyPoll(0)) }
}

/** True where the promise settles without further action. */
async function settles(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  promise.then(
    () => {
      settled = true
    },
    () => {
      settled = true
    },
  )
  for (let count = 0; count < 5; count++) await new Promise(setImmediate)
  return settled
}

describe('the replies of a handshake', () => {
  test('that a client does not take are sent up to a limit, and then the next option waits', async () => {
    const { all, stream, shake } = handshake()
    const reply = Buffer.alloc(1000)
    let sent = 0
    while (await settles(shake.send(reply))) sent++
    assert.ok(sent > 10 && stream.writableLength <= untakenBytesMax + 2000)
    assert.ok(all.bytes >= stream.writableLength)
    for (let count = 0; count <= sent; count++) {
      stream.takeOne()
      await new Promise(setImmediate)
    }
    assert.equal(all.bytes, 0)
    assert.equal(await settles(shake.send(reply)), true)
  })

  test('count a little more than their bytes, as small ones are not for nothing', async () => {
    const { stream, shake } = handshake()
    while (await settles(shake.send(Buffer.alloc(20))));
    assert.ok(stream.writableLength < untakenBytesMax / 10)
  })

  test('of a client that has taken all of them wait for no other client', async () => {
    const all = { bytes: untakenTotalBytesMax }
    const { stream, shake } = handshake(all)
    const sending = shake.send(Buffer.alloc(20))
    assert.equal(await settles(sending), false)
    stream.takeOne()
    assert.equal(await settles(sending), true)
    assert.equal(all.bytes, untakenTotalBytesMax)
  })

  test('that are not taken when the stream is gone count no more', async () => {
    const { all, stream, shake } = handshake()
    const sending = shake.send(Buffer.alloc(100_000))
    assert.ok(all.bytes >= 100_000)
    shake.end(new Error('gone'))
    stream.destroy()
    shake.streamGone()
    assert.equal(all.bytes, 0)
    await assert.rejects(sending, /gone/)
    await assert.rejects(shake.send(Buffer.alloc(1)), /gone/)
    await new Promise(setImmediate)
    assert.equal(all.bytes, 0)
  })
})

describe('what a client sends ahead in the handshake', () => {
  test('is held back beyond a limit, and received again when it is taken', async () => {
    const { stream, shake } = handshake()
    assert.equal(shake.received(Buffer.alloc(aheadBytesMax)), true)
    assert.equal(shake.received(Buffer.alloc(1)), false)
    await shake.take(10)
    assert.equal(stream.resumed, 1)
  })

  test('is not held back while an option waits for its end', async () => {
    const { shake } = handshake()
    const option = shake.take(60_000)
    for (let count = 0; count < 5; count++) assert.equal(shake.received(Buffer.alloc(10_000)), true)
    assert.equal(shake.received(Buffer.alloc(20_000)), false)
    assert.equal((await option).length, 60_000)
  })
})
