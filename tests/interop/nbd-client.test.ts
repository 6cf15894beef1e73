/** nbd-client, which brings a disk to the kernel: here only its list of exports, which needs no kernel. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { needs, output, serve, temporary } from './helpers.js'

test('nbd-client lists the files of a directory as exports', needs('nbd-client'), async (t) => {
  const directory = temporary(t)
  for (const name of ['one.img', 'two.img']) writeFileSync(join(directory, name), 'x')
  const server = await serve(t, 'file', `dir=${directory}`)
  const list = await output('nbd-client', ['-l', '-unix', server.socket])
  assert.deepEqual(
    list.split('\n').filter((line) => line !== ''),
    ['Negotiation: ..', 'one.img', 'two.img'],
  )
})

test('nbd-client lists a default export, which has no name', needs('nbd-client'), async (t) => {
  const server = await serve(t, 'memory', '1M')
  assert.match(await output('nbd-client', ['-l', '-unix', server.socket]), /^Negotiation: \.\.\s+$/)
})
