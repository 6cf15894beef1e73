import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BusyPoll } from './busy-poll.js'

/** An event loop that turns on demand. Each turn takes 10 us. */
function slowLoop() {
  const waiting: (() => void)[] = []
  const loop = {
    us: 0,
    now: () => loop.us / 1000,
    next: (callback: () => void) => void waiting.push(callback),
  }
  const turn = (): boolean => {
    loop.us += 10
    const callback = waiting.shift()
    callback?.()
    return callback !== undefined
  }
  const turns = (): number => {
    let count = 0
    while (turn()) count++
    return count
  }
  return { loop, turn, turns }
}

describe('busy polling', () => {
  it('stays awake for the moment that it was given', () => {
    const { loop, turns } = slowLoop()
    new BusyPoll(50, loop).expect()
    assert.equal(turns(), 5)
  })

  it('stays awake for as long as requests keep coming', () => {
    const { loop, turn, turns } = slowLoop()
    const busyPoll = new BusyPoll(50, loop)
    for (let request = 0; request < 100; request++) {
      busyPoll.expect()
      assert.ok(turn(), `asleep after request ${request}`)
    }
    assert.equal(turns(), 4)
  })

  it('never stays awake for a moment of 0', () => {
    const { loop, turns } = slowLoop()
    new BusyPoll(0, loop).expect()
    assert.equal(turns(), 0)
  })

  it('tries less and less often with a client that takes its time, but never gives up', () => {
    const { loop, turns } = slowLoop()
    const busyPoll = new BusyPoll(50, loop)
    const tries: number[] = []
    for (let request = 0; request < 400; request++) {
      busyPoll.expect()
      if (turns() > 0) tries.push(request)
    }
    assert.deepEqual(tries, [0, 2, 6, 14, 30, 62, 126, 190, 254, 318, 382])
  })

  it('trusts a client again that has become fast', () => {
    const { loop, turn, turns } = slowLoop()
    const busyPoll = new BusyPoll(50, loop)
    for (let request = 0; request < 126; request++) {
      busyPoll.expect()
      turns()
    }
    busyPoll.expect()
    turn()
    busyPoll.expect()
    turns()
    // One vain try at the end of the fast part. The next occasion but one is tried again.
    busyPoll.expect()
    assert.equal(turns(), 0)
    busyPoll.expect()
    assert.equal(turns(), 5)
  })
})
