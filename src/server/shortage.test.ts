import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Shortage } from './shortage.js'

function shortage() {
  const told: number[] = []
  let free: number | undefined = 3
  const system = { limit: 100, lowestFree: () => free }
  return {
    told,
    made: new Shortage(() => told.push(1), system),
    set free(fd: number | undefined) {
      free = fd
    },
  }
}

test('descriptors that run out are told of once, and again when they have been there in between', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const one = shortage()
  one.made.given(10)
  one.free = undefined
  t.mock.timers.tick(1000)
  assert.equal(one.told.length, 0, 'nobody had one of the last')
  one.made.given(99)
  assert.equal(one.told.length, 1, 'a client with one of the last makes us look at once')
  t.mock.timers.tick(1000)
  one.made.happened()
  t.mock.timers.tick(1000)
  assert.equal(one.told.length, 1)
  one.free = 99
  t.mock.timers.tick(1000)
  one.free = undefined
  t.mock.timers.tick(1000)
  assert.equal(one.told.length, 1, 'a single one that came back is no end of it')
  one.free = 20
  t.mock.timers.tick(1000)
  one.made.happened()
  assert.equal(one.told.length, 2)
  one.made.end()
})
