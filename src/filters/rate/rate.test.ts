import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { isPromise } from '../../api/maybe.js'
import memory from '../../plugins/memory/memory.js'
import { deviceContract, openDevice } from '../../testing/index.js'
import rate from './rate.js'

const folder = mkdtempSync(join(tmpdir(), 'rate-'))
after(() => rmSync(folder, { recursive: true }))
const alloc = (length: number) => new Uint8Array(length)
const KiB = 1024

/** Notes whether a promise has settled. */
function watched<T>(promise: Promise<T> | T) {
  assert.ok(isPromise(promise))
  const state = { done: false, promise }
  void promise.then(() => {
    state.done = true
  })
  return state
}

async function turns() {
  for (let count = 0; count < 20; count++) await turn()
}

/** A mocked clock: both that of timers and that of the filter. */
function clock(t: TestContext) {
  let now = 1000
  t.mock.method(performance, 'now', () => now)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  return async (ms: number) => {
    now += ms
    t.mock.timers.tick(ms)
    await turns()
  }
}

test('rate lets saved-up bytes pass at once, and makes others wait for their time', async (t) => {
  const pass = clock(t)
  // 8192 bits a second are 1 KiB a second; 2 KiB are saved up.
  const device = await openDevice(memory({ size: '1M' }), [rate({ rate: '8K' })])
  assert.ok(!isPromise(device.read(0, 2 * KiB, alloc)))
  const first = watched(device.read(0, KiB, alloc))
  const second = watched(device.read(0, 512, alloc))
  await pass(999)
  assert.deepEqual([first.done, second.done], [false, false])
  await pass(1)
  assert.deepEqual([first.done, second.done], [true, false])
  await pass(500)
  assert.equal(second.done, true)
  await device.close()
})

test('rate counts reads and writes apart, and nothing else', async (t) => {
  clock(t)
  const device = await openDevice(memory({ size: '1M' }), [rate({ rate: '8K', burst: 1000 })])
  assert.ok(!isPromise(device.read(0, KiB, alloc)))
  assert.ok(!isPromise(device.write(0, new Uint8Array(KiB), { fua: false })))
  assert.ok(!isPromise(device.zero(0, 100 * KiB, { fua: false, mayTrim: true, fast: false })))
  assert.ok(!isPromise(device.trim(0, 100 * KiB, { fua: false })))
  assert.ok(!isPromise(device.flush()))
  await device.close()
})

test('connection-rate limits each client by itself', async (t) => {
  const pass = clock(t)
  const filter = rate({ connectionRate: '8K', burst: 1000 })
  const device = await openDevice(memory({ size: '1M' }), [filter])
  assert.ok(!isPromise(device.read(0, KiB, alloc)))
  const waiting = watched(device.read(0, 100, alloc))
  await pass(98)
  assert.equal(waiting.done, true)
  await device.close()
})

test('rate-file changes the rate while requests wait, and a bad file changes nothing', async (t) => {
  const pass = clock(t)
  const file = join(folder, 'rate')
  const device = await openDevice(memory({ size: '1M' }), [rate({ rate: '8', file, burst: 0 })])
  const waiting = watched(device.read(0, 1000, alloc))
  await pass(1000)
  assert.equal(waiting.done, false)
  writeFileSync(file, 'fast\n')
  await pass(1000)
  assert.equal(waiting.done, false)
  writeFileSync(file, '8000000\n')
  while (!waiting.done) {
    await pass(1000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await waiting.promise
  await device.close()
})

test('rate of nothing leaves the device as it is', async () => {
  const device = await openDevice(memory({ size: '1M' }), [rate()])
  await deviceContract(device)
  assert.ok(!isPromise(device.read(0, 2 ** 20, alloc)))
  await device.close()
})

test('rate meets the contract of a device', async () => {
  const device = await openDevice(memory({ size: '1M' }), [rate({ rate: '1T' })])
  await deviceContract(device)
  await device.close()
})

for (const [values, message] of [
  [{ rate: 0 }, 'rate: rate=0: expected bits a second, at least 1'],
  [{ connectionRate: '0' }, 'rate: connection-rate=0: expected bits a second, at least 1'],
  [{ rate: 'fast' }, /^rate: .*"fast"/],
] as const)
  test(`rate refuses ${JSON.stringify(values)}`, () =>
    assert.rejects(openDevice(memory({ size: 512 }), [rate(values)]), { message }))
