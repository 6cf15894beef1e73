import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HandshakeTurns, type Loop } from './handshake-turns.js'

/** A clock and an event loop that advance when the test says so. */
class StillLoop implements Loop {
  ms = 0
  #callbacks: (() => void)[] = []

  now(): number {
    return this.ms
  }

  next(callback: () => void): void {
    this.#callbacks.push(callback)
  }

  async turn(): Promise<void> {
    for (const callback of this.#callbacks.splice(0)) callback()
    await this.rest()
  }

  /** Lets all released work run. */
  async rest(): Promise<void> {
    for (let count = 0; count < 50; count++) await undefined
  }
}

/** Works for `pieces` pieces of `ms` each, and records each piece. */
async function work(
  turns: HandshakeTurns,
  loop: StillLoop,
  name: string,
  pieces: number,
  done: string[],
  ms = 0.4,
) {
  const who = {}
  for (let piece = 0; piece < pieces; piece++) {
    await turns.next(who)
    loop.ms += ms
    done.push(name)
  }
}

test('a handshake that does little is not held up', () => {
  const loop = new StillLoop()
  const turns = new HandshakeTurns(loop)
  for (let count = 0; count < 5; count++) assert.equal(turns.next({}), undefined)
})

test('a handshake that sends much ahead works for a millisecond in each turn, and goes on by itself', async () => {
  const loop = new StillLoop()
  const done: string[] = []
  void work(new HandshakeTurns(loop), loop, 'a', 9, done)
  await loop.rest()
  const counts: number[] = []
  for (let turn = 0; turn < 5; turn++) {
    await loop.turn()
    counts.push(done.length)
  }
  assert.deepEqual(counts, [6, 9, 9, 9, 9])
})

test('handshakes take turns in the order they came, all of them together a millisecond in each', async () => {
  const loop = new StillLoop()
  const turns = new HandshakeTurns(loop)
  const done: string[] = []
  for (const name of ['a', 'b', 'c']) void work(turns, loop, name, 5, done)
  await loop.rest()
  for (let turn = 0; turn < 12; turn++) {
    const before = loop.ms
    await loop.turn()
    assert.ok(loop.ms - before <= 1.4)
  }
  assert.equal(done.length, 15)
  // No client is done before the others have begun.
  assert.ok(done.lastIndexOf('a') > done.indexOf('b') && done.lastIndexOf('a') > done.indexOf('c'))
})

test('one that leaves while it waits holds up nobody', async () => {
  const loop = new StillLoop()
  const turns = new HandshakeTurns(loop)
  turns.next({})
  loop.ms = 5
  // A client that is released and does nothing.
  void turns.next({})
  let came = false
  void turns.next({})?.then(() => {
    came = true
  })
  await loop.turn()
  await loop.turn()
  assert.equal(came, true)
  await loop.turn()
  assert.equal(turns.next({}), undefined)
})
