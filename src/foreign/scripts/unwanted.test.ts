import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ConnectionState } from '../../api/connection.js'
import { until } from '../../testing/until.js'
import { watchFor } from './unwanted.js'

/** A client of a script, and whether the script is unwanted. */
function watched(writes: boolean) {
  const [gone, stop] = [new AbortController(), new AbortController()]
  const connection: { signal: AbortSignal; state: ConnectionState } = {
    signal: gone.signal,
    state: 'transmission',
  }
  const seen = { unwanted: false }
  const unwatch = watchFor(connection, writes, { stopping: stop.signal })(() => {
    seen.unwanted = true
  })
  return { connection, gone, stop, seen, unwatch }
}

/** Longer than the time between two checks. */
const aLook = () => sleep(250)

test('a script goes on for a client that has ended its side, and is unwanted when that is dropped', async () => {
  const { connection, gone, seen } = watched(false)
  connection.state = 'draining'
  gone.abort()
  await aLook()
  assert.equal(seen.unwanted, false)
  connection.state = 'closed'
  await until(() => seen.unwanted)
})

test('a script that reads is unwanted at once for a client that is dropped', () => {
  const { connection, gone, seen } = watched(false)
  connection.state = 'closed'
  gone.abort()
  assert.equal(seen.unwanted, true)
})

test('a script that writes goes on for a client that is dropped, until the server stops', async () => {
  const { connection, gone, stop, seen } = watched(true)
  connection.state = 'closed'
  gone.abort()
  await aLook()
  assert.equal(seen.unwanted, false)
  stop.abort()
  await until(() => seen.unwanted)
})

test('a script that has ended is watched no more', async () => {
  const { connection, gone, seen, unwatch } = watched(false)
  unwatch()
  connection.state = 'closed'
  gone.abort()
  await aLook()
  assert.equal(seen.unwanted, false)
})
