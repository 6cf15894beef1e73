/** The bad clients do what their names say, and the benchmark that measures their cost ends by itself. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { waitsOf } from './good-client.js'
import { kinds } from './hostile-kinds.js'

const program = fileURLToPath(new URL('hostile.js', import.meta.url))
const linux = { skip: process.platform === 'linux' ? false : 'it reads /proc, which is on Linux only' }

test('each kind has a line: the waits of a good client, the memory, and that all came back', linux, () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, '--clients=3', '--seconds=1'], {
    encoding: 'utf8',
  })
  const lines = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  assert.deepEqual(
    lines.map((line) => line.split('\t')[0]),
    ['none', ...kinds.map(({ name }) => name)],
    stderr,
  )
  for (const line of lines) assert.match(line, /^[^\t]+\t[1-9]\d*\t[\d.]+\t[\d.]+\t[1-9]\d*\tafter [\d.]+ s$/)
  assert.equal(status, 0)
})

test('a word chooses kinds, and one that is in no name is refused', () => {
  const { status, stderr } = spawnSync(process.execPath, [program, 'nowhere'], { encoding: 'utf8' })
  assert.equal(stderr, 'no kind has "nowhere" in its name\n')
  assert.equal(status, 1)
})

test('of the waits the longest counts, and the one that 99 of 100 are not longer than', () => {
  const waits = Array.from({ length: 200 }, (_, at) => at + 1)
  assert.deepEqual(waitsOf(waits), { reads: 200, p99Ms: 198, worstMs: 200 })
  assert.deepEqual(waitsOf([5]), { reads: 1, p99Ms: 5, worstMs: 5 })
})
