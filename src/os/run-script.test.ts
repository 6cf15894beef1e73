import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { runScript } from './run-script.js'

async function newFile(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'nbdkit-ts-run-script-'))
  t.after(() => rm(directory, { recursive: true }))
  return join(directory, 'said')
}

test('runScript tells the status of a script, whatever it is', async () => {
  assert.deepEqual(await runScript('true'), { status: 0, signal: null })
  assert.deepEqual(await runScript('exit 88'), { status: 88, signal: null })
})

test('runScript tells the signal that ended a script', async () => {
  assert.deepEqual(await runScript('kill -TERM $$'), { status: null, signal: 'SIGTERM' })
})

test('runScript gives variables as they are, quotes and line feeds too', async (t) => {
  const said = await newFile(t)
  const text = 'it\'s "a" $disk\nof `two` lines'
  await runScript('printf %s "$text" > "$said"', { text, said })
  assert.equal(await readFile(said, 'utf8'), text)
})

test('runScript takes a variable away that the environment has', async (t) => {
  const said = await newFile(t)
  t.after(() => delete process.env.NBDKIT_TS_TEST)
  process.env.NBDKIT_TS_TEST = 'left over'
  await runScript('printf %s "$NBDKIT_TS_TEST" > "$said"', { said })
  assert.equal(await readFile(said, 'utf8'), 'left over')
  await runScript('printf %s "$NBDKIT_TS_TEST" > "$said"', { said, NBDKIT_TS_TEST: undefined })
  assert.equal(await readFile(said, 'utf8'), '')
})

test('runScript gives a script nothing to read', async () => {
  assert.deepEqual(await runScript('! read line'), { status: 0, signal: null })
})

test('runScript rejects when the script cannot be started', async () => {
  await assert.rejects(runScript('true', { text: 'x'.repeat(2 ** 23) }), { code: 'E2BIG' })
})
