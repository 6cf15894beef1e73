import assert from 'node:assert/strict'
import { spawn as spawnOfNode } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { test } from 'node:test'
import { textOfBytes } from '../api/byte-text.js'
import { spawn } from './spawn.js'

async function output(stdout: Readable | null): Promise<Buffer> {
  const chunks: Buffer[] = []
  stdout?.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(stdout ?? assert.fail(), 'close')
  return Buffer.concat(chunks)
}
const every = Buffer.from(Array.from({ length: 255 }, (_, index) => 255 - index))
const ends = textOfBytes(Buffer.concat([every, Buffer.from('\n\n')]))
const bytes = Buffer.concat([every, Buffer.from('\n\n')])
const print = (...args: string[]) => output(spawn('/bin/sh', ['-c', 'printf "%s|" "$@"', ...args], {}).stdout)

test('a process is given words of any bytes, among others, in their order', async () => {
  const expected = [Buffer.from('é $x|'), bytes, Buffer.from('||-n|'), bytes, Buffer.from('|')]
  assert.deepEqual(await print('sh', 'é $x', ends, '', '-n', ends), Buffer.concat(expected))
})

test('a program whose own name is not UTF-8 is started, and told its words', async () => {
  const child = spawn(textOfBytes(Buffer.from('/bin/n\xff', 'latin1')), ['a'], {})
  assert.deepEqual(await once(child, 'exit'), [127, null])
})

test('a process is given variables of any bytes', async () => {
  const child = spawn('/bin/sh', ['-c', 'printf %s "$MINE$x"'], { env: { MINE: ends, x: '💀' } })
  assert.deepEqual(await output(child.stdout), Buffer.concat([bytes, Buffer.from('💀')]))
})

test('what we were started with is passed on as it was, and what was set since as that', async (t) => {
  if (process.platform !== 'linux') return t.skip('other systems do not show the bytes')
  const module = JSON.stringify(new URL('spawn.js', import.meta.url).href)
  const script = `import { spawn } from ${module}
process.env.CHANGED = 'new'
delete process.env.GONE
spawn('/bin/sh', ['-c', 'printf %s "$KEPT|$CHANGED|$GONE|$OTHER"'], { stdio: 'inherit' })`
  const set = "KEPT=$(printf 'k\\377'); CHANGED=$KEPT; GONE=$KEPT; export KEPT CHANGED GONE"
  const child = spawnOfNode(
    '/bin/sh',
    ['-c', `${set}; exec "$@"`, 'sh', process.execPath, '--input-type=module', '-e', script],
    { env: { OTHER: 'o' }, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  assert.deepEqual(await output(child.stdout), Buffer.from('k\xff|new||o', 'latin1'))
})
