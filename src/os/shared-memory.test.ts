import assert from 'node:assert/strict'
import { constants } from 'node:buffer'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { ConfigError } from '../api/errors.js'
import { libc } from './libc.js'
import { openShared, reserveShared } from './shared-memory.js'

const needsLibc = { skip: libc() === undefined ? 'the package koffi is missing' : false }

test('memory is shared with another thread, which is told where it is', needsLibc, async () => {
  const memory = reserveShared(2 ** 20)
  const bytes = new Uint8Array(openShared(memory))
  assert.ok(bytes.every((byte) => byte === 0))
  const module = new URL('./shared-memory.js', import.meta.url).href
  const script = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(${JSON.stringify(module)}).then(({ openShared }) => {
      new Uint8Array(openShared(workerData)).fill(7, 1000, 2000)
      parentPort.postMessage('done')
    })`
  const worker = new Worker(script, { eval: true, workerData: memory })
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  assert.deepEqual([bytes[999], bytes[1000], bytes[1999], bytes[2000]], [0, 7, 7, 0])
  await worker.terminate()
})

test('a disk of no bytes needs none', needsLibc, () => {
  assert.equal(openShared(reserveShared(0)).byteLength, 0)
})

test('more than a view can cover is refused, with how much that is', needsLibc, () => {
  assert.throws(
    () => reserveShared(constants.MAX_LENGTH + 1),
    (error) =>
      error instanceof ConfigError && error.message.includes(`${constants.MAX_LENGTH} bytes at most`),
  )
})
