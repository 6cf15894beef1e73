import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noPatience, Patience } from './patience.js'

/** Calls that take a given time, in ms. */
function withClock() {
  let now = 1000
  const patience = new Patience(() => now)
  const call = (ms: number) =>
    patience.spend(() => {
      now += ms
      return 'done'
    })
  const wait = (ms: number) => {
    now += ms
  }
  return { call, wait }
}

test('patience lasts while calls are short', () => {
  const { call } = withClock()
  for (let count = 0; count < 1000; count++) assert.equal(call(0.1), 'done')
})

test('after a long call there is no patience for twenty times as long, less a credit of 5 ms', () => {
  const { call, wait } = withClock()
  assert.equal(call(10), 'done')
  wait(99)
  assert.equal(call(0), undefined)
  wait(1)
  assert.equal(call(0), 'done')
})

test('a single call that waited a little is forgiven, several in a row are not', () => {
  const { call, wait } = withClock()
  for (let count = 0; count < 6; count++) assert.equal(call(1), 'done')
  assert.equal(call(0), undefined)
  wait(20)
  assert.equal(call(0), 'done')
})

test('waits take up a twentieth of the time at most, however long each is', () => {
  for (const ms of [0.3, 1, 1.9, 5, 500]) {
    let now = 0
    let waited = 0
    const patience = new Patience(() => now)
    for (let calls = 0; calls < 20_000; calls++) {
      const done = patience.spend(() => {
        now += ms
        waited += ms
        return true
      })
      // The pool takes as long.
      if (!done) now += ms
    }
    assert.ok(waited <= now / 20 + ms + 5, `${waited} of ${now} ms`)
  }
})

test('a call that throws is not swallowed', () => {
  const patience = new Patience()
  const fail = () => {
    throw new Error('no space')
  }
  assert.throws(() => patience.spend(fail), /no space/)
})

test('a long call that throws ends the patience, too', () => {
  let now = 0
  const patience = new Patience(() => now)
  const fail = () =>
    patience.spend(() => {
      now += 10
      throw new Error('no space')
    })
  assert.throws(fail, /no space/)
  assert.equal(
    patience.spend(() => 'done'),
    undefined,
  )
})

test('without patience no call is made', () => {
  assert.equal(noPatience.spend(assert.fail), undefined)
})
