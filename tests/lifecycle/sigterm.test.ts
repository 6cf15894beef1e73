/**
 * SIGTERM while clients write: nothing acknowledged is lost, nothing sent is left without an answer, the
 * status is 0. SIGTERM_ROUNDS=200 tries more often, SIGTERM_SEED=n begins at another seed.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { quietMs } from '../../src/connection/connection.js'
import { type CopyCommand, stopUnderLoad } from './write-load.js'

const rounds = Number(process.env.SIGTERM_ROUNDS ?? 10)
const firstSeed = Number(process.env.SIGTERM_SEED ?? 1)

/** The program, as it was compiled together with this test. */
const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const program =
  (...options: string[]): CopyCommand =>
  (socket, image) => [process.execPath, main, '-f', '-U', socket, ...options, 'file', image]

for (const [how, ...options] of [['one thread'], ['three threads', '--workers=3']])
  test(`S6 SIGTERM under a load of writes, ${rounds} times, with ${how}`, (t) => survives(t, options))

async function survives(t: TestContext, options: readonly string[]): Promise<void> {
  const total = { sent: 0, done: 0, refused: 0, unanswered: 0 }
  for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
    const outcome = await stopUnderLoad(program(...options), seed)
    const again = `to repeat it: SIGTERM_ROUNDS=1 SIGTERM_SEED=${seed}`
    // Clients that have no turn for so long on this machine are quiet, and may find the server gone.
    const excused = outcome.lagMs > quietMs / 2 ? outcome.unanswered : 0
    const good = { failed: 0, unanswered: excused, lost: 0, status: 0, signal: null, stderr: '' }
    assert.deepEqual(outcome, { ...outcome, ...good }, again)
    total.sent += outcome.sent
    total.done += outcome.done
    total.refused += outcome.refused
    total.unanswered += excused
  }
  const { sent, done, refused, unanswered } = total
  assert.equal(done + refused + unanswered, sent)
  assert.ok(done > 0, 'the load began before the signal came')
  t.diagnostic(`${sent} writes: ${done} acknowledged and in the file, ${refused} refused`)
  if (unanswered > 0) t.diagnostic(`${unanswered} came when the server had gone: this machine is very busy`)
}
