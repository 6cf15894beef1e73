import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { DeviceInit } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { isPromise } from '../../api/maybe.js'
import { definePlugin } from '../../api/plugin.js'
import memory from '../../plugins/memory/memory.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import retryRequest from './retry-request.js'

const alloc = (length: number) => new Uint8Array(length)

/** A disk whose reads fail `failures` times, at once or later. Counts all reads and opens. */
function failing(failures: number, when: 'at once' | 'later', opens = 0) {
  const counts = { reads: 0, opens: 0 }
  const read: DeviceInit['read'] = (_, length) => {
    if (++counts.reads > failures) return new Uint8Array(length).fill(7)
    const error = new NbdError('EIO', `failure ${counts.reads}`)
    if (when === 'at once') throw error
    return turn().then(() => Promise.reject(error))
  }
  const plugin = definePlugin({
    name: 'failing',
    description: 'for tests',
    params: {},
    setup: () => ({
      open() {
        if (++counts.opens <= opens) throw new NbdError('EIO', 'cannot be opened yet')
        return { size: 512, read }
      },
    }),
  })()
  return { plugin, counts }
}

/** Lets time pass for a promise, a second at a time. Returns the seconds until it has settled. */
async function seconds(t: TestContext, promise: Promise<unknown>): Promise<number> {
  let settled = false
  const note = () => {
    settled = true
  }
  promise.then(note, note)
  for (let passed = 0; ; passed++) {
    for (let count = 0; count < 20; count++) await turn()
    if (settled) return passed
    t.mock.timers.tick(1000)
  }
}

for (const when of ['at once', 'later'] as const) {
  test(`retry-request repeats a read that fails ${when}, after each delay`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { plugin, counts } = failing(3, when)
    const device = await openDevice(plugin, [retryRequest({ retries: 3, delay: '1' })])
    const read = Promise.resolve(device.read(0, 1, alloc))
    assert.equal(await seconds(t, read), 3)
    assert.deepEqual(await read, new Uint8Array([7]))
    assert.deepEqual(counts, { reads: 4, opens: 1 })
    await device.close()
  })

  test(`retry-request gives the last error of a read that fails ${when} too often`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { plugin, counts } = failing(9, when)
    const device = await openDevice(plugin, [retryRequest()])
    const read = Promise.resolve(device.read(0, 1, alloc))
    assert.equal(await seconds(t, read), 4)
    await assert.rejects(read, { message: 'failure 3' })
    assert.equal(counts.reads, 3)
    await device.close()
  })
}

test('retry-request repeats opening, unless it is told not to', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { plugin, counts } = failing(0, 'at once', 2)
  const opening = openDevice(plugin, [retryRequest({ delay: '1' })])
  assert.equal(await seconds(t, opening), 2)
  assert.equal(counts.opens, 3)
  await (await opening).close()
  const strict = openDevice(failing(0, 'at once', 1).plugin, [retryRequest({ open: false })])
  await assert.rejects(strict, { message: 'cannot be opened yet' })
})

test('retry-request ends its wait when the server stops, and gives the error', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { plugin } = failing(9, 'at once')
  const device = await openDevice(plugin, [retryRequest({ retries: 0 })])
  await assert.rejects(async () => device.read(0, 1, alloc), { message: 'failure 1' })
  await device.close()
})

test('retry-request costs no promise where nothing fails, and meets the contract of a device', async () => {
  const device = await openDevice(memory({ size: '1M' }), [retryRequest()])
  assert.ok(!isPromise(device.read(0, 512, alloc)))
  await deviceContract(device)
  await device.close()
})

for (const [values, message] of [
  [{ retries: 1001 }, /^retry-request: retry-request-retries: .*1000/],
  [{ delay: 0 }, 'retry-request: retry-request-delay=0: expected a time above 0'],
  [{ delay: 'soon' }, /"soon"/],
] as const)
  test(`retry-request refuses ${JSON.stringify(values)}`, () =>
    assert.rejects(openDevice(memory({ size: 512 }), [retryRequest(values)]), { message }))
