import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Device, Extent } from '../api/device.js'
import { alignExtents } from './align-extents.js'

/** Alternating lengths and types. */
const disk: readonly number[] = [15, 0, 8, 2, 8, 3, 2, 1, 2, 2, 4, 3, 8, 1, 1, 0]
const size = disk.reduce((sum, length, index) => sum + (index % 2 === 0 ? length : 0), 0)

/** The runs from `offset` on, at most `runsMax` for one answer, at once or later. */
function extents(runsMax: number, later = false): Device['extents'] {
  return (offset) => {
    const runs: Extent[] = []
    let at = 0
    for (let index = 0; index < disk.length && runs.length < runsMax; index += 2) {
      const [length = 0, type = 0] = disk.slice(index)
      const end = at + length
      if (end > offset) runs.push({ length: end - Math.max(at, offset), type })
      at = end
    }
    return later ? Promise.resolve(runs) : runs
  }
}

/** The runs of the whole disk, requested as a client does, with neighbours of the same type merged. */
async function whole(asked: Device['extents']): Promise<number[]> {
  const all: number[] = []
  for (let at = 0; at < size; ) {
    for (const { length, type } of await asked(at, size - at)) {
      if (all.at(-1) === type) all[all.length - 2] = (all.at(-2) ?? 0) + length
      else all.push(length, type)
      at += length
    }
  }
  return all
}

const expected: Readonly<Record<number, readonly number[]>> = {
  1: disk,
  2: [16, 0, 8, 2, 6, 3, 2, 1, 2, 0, 2, 2, 2, 3, 8, 1, 2, 0],
  4: [16, 0, 8, 2, 4, 3, 4, 1, 4, 0, 8, 1, 4, 0],
  8: [16, 0, 8, 2, 8, 1, 16, 0],
}

for (const [unit, runs] of Object.entries(expected))
  describe(`in units of ${unit} bytes`, () => {
    for (const runsMax of [1, 2, 3, 100])
      for (const later of [false, true])
        test(`of ${runsMax} runs in an answer, ${later ? 'later' : 'at once'}`, async () =>
          assert.deepEqual(await whole(alignExtents(extents(runsMax, later), Number(unit))), runs))
  })

test('the metadata context is handed on', async () => {
  const asked: (string | undefined)[] = []
  const aligned = alignExtents((_offset, length, context) => {
    asked.push(context)
    return [{ length, type: 0 }]
  }, 4)
  await aligned(0, 8, 'x-test:a')
  assert.deepEqual(asked, ['x-test:a'])
})

test('the last unit of a disk may be shorter', async () => {
  const runs = (at: number) => [{ length: 2, type: at === 8 ? 3 : 1 }]
  assert.deepEqual([...(await alignExtents(runs, 4)(8, 2))], [{ length: 2, type: 3 }])
  assert.deepEqual([...(await alignExtents(runs, 8)(8, 3))], [{ length: 3, type: 1 }])
  assert.deepEqual([...(await alignExtents(extents(100), 32)(32, 16))], [{ length: 16, type: 0 }])
})
