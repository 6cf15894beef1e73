import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import type { ConnectionState } from '../api/connection.js'
import { sleep } from './sleep.js'

const farMs = 2 ** 31 - 1
const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

function client() {
  const controller = new AbortController()
  const state: ConnectionState = 'transmission'
  return {
    connection: { signal: controller.signal, state: state as ConnectionState },
    end: () => controller.abort(),
    drop() {
      this.connection.state = 'closed'
      controller.abort()
    },
  }
}

test('sleep ends after its time, rounded up to milliseconds, and takes its listeners away', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { connection } = client()
  const { signal: stopping } = new AbortController()
  let awake = false
  const sleeping = sleep(1.2, connection, stopping).then(() => {
    awake = true
  })
  assert.deepEqual([listeners(connection.signal), listeners(stopping)], [1, 1])
  t.mock.timers.tick(1)
  await Promise.resolve()
  assert.equal(awake, false)
  t.mock.timers.tick(1)
  await sleeping
  assert.deepEqual([listeners(connection.signal), listeners(stopping)], [0, 0])
})

test('sleep ends at once with ESHUTDOWN when the client is dropped', async () => {
  const one = client()
  const sleeping = sleep(farMs, one.connection, new AbortController().signal)
  one.drop()
  await assert.rejects(sleeping, { name: 'NbdError', code: 'ESHUTDOWN' })
  assert.equal(listeners(one.connection.signal), 0)
  await assert.rejects(sleep(farMs, one.connection, new AbortController().signal), { code: 'ESHUTDOWN' })
})

test('sleep ends at once when the client asks no more, and does not begin later', async () => {
  const one = client()
  const sleeping = sleep(farMs, one.connection, new AbortController().signal)
  one.end()
  await sleeping
  await sleep(farMs, one.connection, new AbortController().signal)
})

test('sleep of every client ends at once when the server stops', async () => {
  const stopping = new AbortController()
  const [one, two] = [client(), client()]
  const sleeping = [one, two].map(({ connection }) => sleep(farMs, connection, stopping.signal))
  assert.equal(listeners(stopping.signal), 1)
  stopping.abort()
  await Promise.all(sleeping)
  await sleep(farMs, one.connection, stopping.signal)
  assert.equal(listeners(stopping.signal), 0)
})

test('sleep leaves no timer behind when it ends early', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  const one = client()
  const sleeping = sleep(farMs, one.connection, new AbortController().signal)
  assert.equal(timers(), before + 1)
  one.end()
  await sleeping
  assert.equal(timers(), before)
})

test('sleep may be called for many requests of one connection without a warning', async (t) => {
  const warnings: string[] = []
  const note = ({ name }: Error) => void warnings.push(name)
  process.on('warning', note)
  t.after(() => process.off('warning', note))
  const { connection } = client()
  const { signal } = new AbortController()
  await Promise.all(Array.from({ length: 50 }, () => sleep(1, connection, signal)))
  // Warnings are emitted in a tick of their own.
  await new Promise((resolve) => setImmediate(resolve))
  assert.ok(!warnings.includes('MaxListenersExceededWarning'))
})
