/** Partitions of disks that sfdisk made, as nbdkit finds them. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import {
  assertSame,
  needs,
  output,
  pattern,
  run,
  type Serving,
  serve,
  serveWithNbdkit,
  temporary,
} from './helpers.js'

const MiB = 2 ** 20
const scripts: Readonly<Record<string, string>> = {
  dos: 'label: dos\n- 2MiB L\n- 1MiB L\n- 6MiB E\n- 1MiB L\n- 1500KiB L\n- 1MiB L\n',
  gpt: `label: gpt\n${Array.from({ length: 7 }, (_, index) => `- ${index + 1}00KiB L\n`).join('')}`,
}

/** An image with a pattern in it, partitioned. */
async function image(t: TestContext, label: string): Promise<string> {
  const path = join(temporary(t), 'disk.img')
  writeFileSync(
    path,
    pattern(16 * MiB, () => true),
  )
  await output('sfdisk', ['--quiet', '--wipe=never', path], { input: scripts[label] ?? '' })
  return path
}

async function contents(t: TestContext, server: Serving): Promise<Buffer | 'refused'> {
  const copy = join(temporary(t), 'copy')
  const { status } = await run('nbdcopy', [server.uri, copy])
  return status === 0 ? readFileSync(copy) : 'refused'
}

describe('nbdkit and nbdkit-ts find the same partitions', needs('nbdkit', 'nbdcopy', 'sfdisk'), () => {
  for (const label of Object.keys(scripts))
    test(`of a disk with a ${label} table`, async (t) => {
      const disk = await image(t, label)
      let found = 0
      for (let number = 1; number <= 9; number++) {
        const words = ['-r', '--filter=partition', 'file', disk, `partition=${number}`]
        const ours = await contents(t, await serve(t, ...words))
        const theirs = await contents(t, await serveWithNbdkit(t, ...words))
        if (ours === 'refused' || theirs === 'refused') assert.equal(ours, theirs, `partition ${number}`)
        else {
          assertSame(ours, theirs, `partition ${number}`)
          found++
        }
      }
      assert.equal(found, label === 'dos' ? 5 : 7)
    })
})
