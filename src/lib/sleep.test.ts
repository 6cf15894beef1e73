import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { sleep } from './sleep.js'

const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

test('sleep ends after its time, rounded up to milliseconds, and takes its listener away', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { signal } = new AbortController()
  let awake = false
  const sleeping = sleep(1.2, signal).then(() => {
    awake = true
  })
  assert.equal(listeners(signal), 1)
  t.mock.timers.tick(1)
  await Promise.resolve()
  assert.equal(awake, false)
  t.mock.timers.tick(1)
  await sleeping
  assert.equal(listeners(signal), 0)
})

test('sleep ends at once with ESHUTDOWN when the signal fires', async () => {
  const controller = new AbortController()
  const sleeping = sleep(2 ** 31 - 1, controller.signal)
  controller.abort()
  await assert.rejects(sleeping, { name: 'NbdError', code: 'ESHUTDOWN' })
  assert.equal(listeners(controller.signal), 0)
})

test('sleep does not begin when the signal has fired before', async () => {
  await assert.rejects(sleep(2 ** 31 - 1, AbortSignal.abort()), { code: 'ESHUTDOWN' })
})

test('sleep leaves no timer behind when the signal fires', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  const controller = new AbortController()
  const sleeping = sleep(2 ** 31 - 1, controller.signal)
  assert.equal(timers(), before + 1)
  controller.abort()
  await assert.rejects(sleeping)
  assert.equal(timers(), before)
})

test('sleep may be called for many requests of one connection without a warning', async (t) => {
  const warnings: string[] = []
  const note = ({ name }: Error) => void warnings.push(name)
  process.on('warning', note)
  t.after(() => process.off('warning', note))
  const { signal } = new AbortController()
  await Promise.all(Array.from({ length: 50 }, () => sleep(1, signal)))
  // Warnings are emitted in a tick of their own.
  await new Promise((resolve) => setImmediate(resolve))
  assert.ok(!warnings.includes('MaxListenersExceededWarning'))
})
