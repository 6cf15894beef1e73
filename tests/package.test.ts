/** What dist/package promises: one copy of each module, and a start that needs nothing else. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { NBD_CMD_READ, NBD_REPLY_TYPE_OFFSET_HOLE } from '../src/protocol/constants.js'
import { RawClient } from '../src/testing/index.js'
import { newDirectory, program, result, root, run, start, started } from './cli-helpers.js'

it('a plugin gets the same library as the program: its zeroes are a hole', async (t) => {
  const directory = newDirectory({
    'zeroes.mjs': `
      import { definePlugin, zeroes } from 'nbdkit-ts'
      export default definePlugin({
        name: 'zeroes', description: 'for tests', params: {},
        setup: () => ({ open: () => ({ size: 65536, read: (_, length) => zeroes(length) }) }),
      })`,
  })
  const { child, uri } = await started(['-U', '-', join(directory, 'zeroes.mjs')])
  t.after(() => child.kill('SIGKILL'))
  const client = await RawClient.connect({ path: new URL(uri).searchParams.get('socket') ?? '' })
  t.after(() => client.stream.destroy())
  await client.go({ structured: true })
  const [part] = await client.request({ type: NBD_CMD_READ, length: 4096 })
  assert.equal(part?.type, NBD_REPLY_TYPE_OFFSET_HOLE)
})

it('the program serves where no compiled code can be kept', async () => {
  const env = { HOME: '/proc/nowhere', XDG_CACHE_HOME: '/proc/nowhere' }
  const args = ['-f', '-U', '-', 'null', '--run', 'echo served']
  const { status, stdout, stderr } = await result(start(args, { env, bin: program }))
  assert.deepEqual([status, stdout, stderr], [0, 'served\n', ''])
})

it('the program is in a handful of files, and has an entry for each plugin and filter', async () => {
  const files = readdirSync(join(root, 'dist', 'package'), { recursive: true }).map(String)
  assert.ok(files.includes('library.js') && files.includes(join('cli', 'program.js')))
  const { stdout } = await run(['--dump-config'])
  for (const kind of ['plugin', 'filter']) {
    const directory = new RegExp(`^${kind}dir=(.*)$`, 'm').exec(stdout)?.[1] ?? ''
    for (const name of readdirSync(directory)) assert.ok(files.includes(join(`${kind}s`, name, `${name}.js`)))
  }
})
