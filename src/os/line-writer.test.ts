import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { until } from '../testing/until.js'
import { LineWriter, type Outlet } from './line-writer.js'

/** A reader that takes `room` bytes until it is told to take more. */
function reader(room = Number.POSITIVE_INFINITY) {
  let text = ''
  const state = { room, closed: false, failure: undefined as Error | undefined }
  const outlet: Outlet = {
    now(bytes) {
      if (state.failure) throw state.failure
      if (state.room === 0) return undefined
      const taken = bytes.subarray(0, state.room)
      state.room -= taken.length
      text += Buffer.from(taken)
      return taken.length
    },
    close() {
      state.closed = true
    },
  }
  return { outlet, state, read: () => text }
}

const dropped = (lines: number) => `${lines} dropped\n`

describe('a line writer', () => {
  test('writes each line at once, where its reader takes it', () => {
    const { outlet, read } = reader()
    const writer = new LineWriter(outlet, { dropped })
    writer.write('one\n')
    writer.write(Buffer.from('two\n'))
    assert.equal(read(), 'one\ntwo\n')
  })

  test('keeps what is not taken, and writes it in order when there is room', async () => {
    const { outlet, state, read } = reader(6)
    const writer = new LineWriter(outlet, { dropped })
    for (const line of ['one\n', 'two\n', 'three\n']) writer.write(line)
    assert.equal(read(), 'one\ntw')
    state.room = 100
    await until(() => read().endsWith('three\n'))
    assert.equal(read(), 'one\ntwo\nthree\n')
  })

  test('drops lines beyond its limit, and tells how many in their place', async () => {
    const { outlet, state, read } = reader(0)
    const writer = new LineWriter(outlet, { dropped, waitingMax: 10 })
    for (let line = 1; line <= 9; line++) writer.write(`line${line}\n`)
    state.room = 1000
    await until(() => read().includes('dropped'))
    writer.write('later\n')
    assert.equal(read(), 'line1\n8 dropped\nlater\n')
  })

  test('waits for an outlet that writes on another thread, one line after the other', async () => {
    const written: string[] = []
    let free = () => {}
    const later = async (bytes: Uint8Array) => {
      await new Promise<void>((resolve) => {
        free = resolve
      })
      written.push(`${Buffer.from(bytes)}`)
    }
    const writer = new LineWriter({ now: () => undefined, later, close() {} }, { dropped })
    writer.write('one')
    writer.write('two')
    assert.deepEqual(written, [])
    free()
    await until(() => written.length === 1)
    free()
    await until(() => written.length === 2)
    assert.deepEqual(written, ['one', 'two'])
  })

  test('tells the first of several failures in a row, and goes on', () => {
    const { outlet, state, read } = reader()
    const failures: string[] = []
    const writer = new LineWriter(outlet, { dropped, failed: (message) => failures.push(message) })
    state.failure = new Error('the disk is full')
    writer.write('one\n')
    writer.write('two\n')
    state.failure = undefined
    writer.write('three\n')
    state.failure = new Error('gone')
    writer.write('four\n')
    assert.deepEqual(failures, ['the disk is full', 'gone'])
    assert.equal(read(), 'three\n')
  })

  test('tells of a failure on another thread', async () => {
    const failures: string[] = []
    const later = () => Promise.reject(new Error('the disk is gone'))
    const outlet: Outlet = { now: () => undefined, later, close() {} }
    new LineWriter(outlet, { dropped, failed: (message) => failures.push(message) }).write('one')
    await until(() => failures.length > 0)
    assert.deepEqual(failures, ['the disk is gone'])
  })

  test('gives what waits a moment when the process ends, and then goes without it', () => {
    const { outlet, state, read } = reader(1)
    const writer = new LineWriter(outlet, { dropped })
    writer.write('one\n')
    writer.flush(10)
    assert.equal(read(), 'o')
    state.room = 100
    writer.flush(10)
    assert.equal(read(), 'one\n')
  })

  test('closes its outlet when the rest is written, or the time is over, and writes no more', async () => {
    for (const room of [0, 100]) {
      const { outlet, state, read } = reader(1)
      const writer = new LineWriter(outlet, { dropped })
      writer.write('one\n')
      state.room = room
      await writer.close(50)
      writer.write('two\n')
      assert.deepEqual([read(), state.closed], [room > 0 ? 'one\n' : 'o', true])
    }
  })
})
