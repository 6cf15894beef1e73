import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scriptOutput } from './script-output.js'

const options = { variables: {}, bytesMax: 4096 }

test('scriptOutput returns what a script prints, whatever its exit status', async () => {
  assert.equal((await scriptOutput('echo one; echo two; exit 3', options)).toString(), 'one\ntwo\n')
  assert.equal((await scriptOutput('kill -9 $$', options)).toString(), '')
})

test('scriptOutput gives variables as they are', async () => {
  const name = 'it\'s "a" $disk\nof `two` lines'
  const output = await scriptOutput('printf %s "$name"', { ...options, variables: { name } })
  assert.equal(output.toString(), name)
})

test('scriptOutput ends a script that prints more than is wanted', async () => {
  const output = await scriptOutput('yes', { ...options, bytesMax: 5 })
  assert.equal(output.toString(), 'y\ny\ny')
})

test('scriptOutput does not wait for a process in the background that holds the output open', async () => {
  const started = performance.now()
  assert.equal((await scriptOutput('sleep 60 & echo done', options)).toString(), 'done\n')
  assert.ok(performance.now() - started < 30_000)
})

test('scriptOutput ends a script when a signal fires, also one that has fired before', async () => {
  const controller = new AbortController()
  const output = scriptOutput('echo begun; sleep 60', { ...options, signals: [controller.signal] })
  setTimeout(() => controller.abort(), 100)
  assert.ok(['begun\n', ''].includes((await output).toString()))
  assert.equal((await scriptOutput('sleep 60', { ...options, signals: [controller.signal] })).toString(), '')
})
