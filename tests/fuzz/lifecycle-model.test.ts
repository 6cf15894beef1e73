/**
 * Random runs of the model of docs/lifecycle.md. MODEL_RUNS=n makes more of them, MODEL_SEED=n makes only
 * that one, and MODEL_TRANSPORT=pair or unix on one transport alone.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { runModel } from './model.js'
import type { Transport } from './model-judge.js'

/** Seeds that once showed a fault. They are run first, on both transports. */
const kept: readonly (readonly [seed: number, fault: string])[] = []

const { MODEL_RUNS = '300', MODEL_SEED, MODEL_FIRST = '1', MODEL_TRANSPORT } = process.env
const transports = (['pair', 'unix'] as const).filter((name) => (MODEL_TRANSPORT ?? name) === name)
const directory = mkdtempSync(join(tmpdir(), 'model-'))
after(() => rmSync(directory, { recursive: true }))

async function run(seed: number, transport: Transport): Promise<void> {
  try {
    await runModel(seed, transport, directory, MODEL_SEED !== undefined)
  } catch (error) {
    const again = `to repeat it: MODEL_SEED=${seed} MODEL_TRANSPORT=${transport}`
    assert.fail(`seed ${seed}, ${transport} (${again}): ${error instanceof Error ? error.message : error}`)
  }
}

describe('a server keeps what docs/lifecycle.md promises', () => {
  for (const transport of transports) {
    if (MODEL_SEED !== undefined) {
      it(`in the run of seed ${MODEL_SEED}, ${transport}`, () => run(Number(MODEL_SEED), transport))
      continue
    }
    for (const [seed, fault] of kept)
      it(`in the run of seed ${seed}, ${transport}: ${fault}`, () => run(seed, transport))
    it(`in ${MODEL_RUNS} random runs, ${transport}`, async () => {
      const first = Number(MODEL_FIRST)
      for (let seed = first; seed < first + Number(MODEL_RUNS); seed++) await run(seed, transport)
    })
  }
})
