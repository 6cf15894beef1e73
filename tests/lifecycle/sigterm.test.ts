/**
 * SIGTERM while clients write: nothing acknowledged is lost, nothing sent is left without an answer, the
 * status is 0. SIGTERM_ROUNDS=200 tries more often, SIGTERM_SEED=n begins at another seed.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Command, type Outcome, stopUnderLoad } from './write-load.js'

const rounds = Number(process.env.SIGTERM_ROUNDS ?? 10)
const firstSeed = Number(process.env.SIGTERM_SEED ?? 1)

/** The program, as it was compiled together with this test. */
const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const program: Command = (socket, image) => [process.execPath, main, '-f', '-U', socket, 'file', image]

test(`S6 SIGTERM under a load of writes, ${rounds} times`, async (t) => {
  const total = { sent: 0, done: 0, refused: 0 }
  for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
    const outcome = await stopUnderLoad(program, seed)
    const again = `to repeat it: SIGTERM_ROUNDS=1 SIGTERM_SEED=${seed}`
    const expected: Outcome = {
      ...outcome,
      failed: 0,
      unanswered: 0,
      lost: 0,
      status: 0,
      signal: null,
      stderr: '',
    }
    assert.deepEqual(outcome, expected, again)
    assert.equal(outcome.done + outcome.refused, outcome.sent, again)
    total.sent += outcome.sent
    total.done += outcome.done
    total.refused += outcome.refused
  }
  const { sent, done, refused } = total
  t.diagnostic(`${sent} writes: ${done} acknowledged and in the file, ${refused} refused, none unanswered`)
  assert.ok(done > 0, 'the load began before the signal came')
})
