/**
 * Random runs of the model of docs/lifecycle.md. MODEL_RUNS=n makes more of them, from MODEL_FIRST=n on.
 * MODEL_SEED=n makes only that one, and tells all of it. MODEL_TRANSPORT=pair or unix takes one transport,
 * MODEL_WINDOWED=no the disk that lends no memory.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { runModel } from './model.js'
import type { Transport } from './model-judge.js'

/** Seeds that once showed a fault, with a disk that lends no memory. They run first, on both transports. */
const kept: readonly (readonly [seed: number, fault: string])[] = [
  [2, 'a connection that was closed in the handshake fired its signal'],
  [5, 'a write was refused before its payload had come'],
  [22, 'a write whose payload had begun to come reached a layer after a disconnect'],
  [32, 'lingerMs of 0 closed the connection under the callback that had asked for it'],
  [58, 'who waited for room was not refused at once'],
  [132, 'a client left while it was greeted, and was greeted all the same'],
  [203, 'a client that asked again within the write of its answer waited for ever'],
  [318, 'the memory of a reply was used again before the reply was sent'],
  [343, 'what a client asked within the write of its answer overtook what it had asked before'],
  [754, 'a device was closed under a callback that a filter had not waited for'],
  [5109, 'a client that ended in the middle of a request, behind others that waited, was kept for ever'],
  [78, 'what came while a callback ran was looked at before what had come earlier'],
]

/** The same for a disk that lends memory. */
const keptWindowed: typeof kept = [
  [9, 'a client lost replies that it had not read, where the connection closed with unread bytes'],
  [42, 'a client that had said goodbye behind requests that waited was taken for one that vanished'],
  [1199, 'lingerMs of 0 closed the connection before bytes that had come were read'],
]

const { MODEL_RUNS = '300', MODEL_SEED, MODEL_FIRST = '1', MODEL_TRANSPORT, MODEL_WINDOWED } = process.env
const transports = (['pair', 'unix'] as const).filter((name) => (MODEL_TRANSPORT ?? name) === name)
const directory = mkdtempSync(join(tmpdir(), 'model-'))
after(() => rmSync(directory, { recursive: true }))

async function run(seed: number, transport: Transport, windowed = MODEL_WINDOWED !== 'no'): Promise<void> {
  try {
    await runModel({ seed, transport, windowed }, directory, MODEL_SEED !== undefined)
  } catch (error) {
    const again = `to repeat it: MODEL_SEED=${seed} MODEL_TRANSPORT=${transport}${windowed ? '' : ' MODEL_WINDOWED=no'}`
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
      it(`in the run of seed ${seed}, ${transport}: ${fault}`, () => run(seed, transport, false))
    for (const [seed, fault] of keptWindowed)
      it(`in the run of seed ${seed}, ${transport}, with windows: ${fault}`, () => run(seed, transport))
    it(`in ${MODEL_RUNS} random runs, ${transport}`, async () => {
      const first = Number(MODEL_FIRST)
      for (let seed = first; seed < first + Number(MODEL_RUNS); seed++) await run(seed, transport)
    })
  }
})
