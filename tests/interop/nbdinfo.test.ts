/** What libnbd's nbdinfo sees of us, beside what it sees of nbdkit. */
import assert from 'node:assert/strict'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { nbdkitPlugin } from '../programs.js'
import {
  isVersion,
  needs,
  needsVersion,
  output,
  type Serving,
  serve,
  serveWithNbdkit,
  temporary,
} from './helpers.js'
import { common, type Info, info, withoutBlockSizes } from './nbdinfo.js'

/** What nbdkit and we have in common, but for the block sizes of memory. */
async function shared(server: Serving, ...options: string[]): Promise<Info> {
  return withoutBlockSizes(common(await info(server, ...options)))
}

/**
 * docs/differences.md: a file is offered with fast zeroes, which are refused where they would not be fast.
 */
function withFastZeroes(expected: Info): Info {
  return { ...expected, exports: expected.exports.map((one) => ({ ...one, can_fast_zero: true })) }
}

describe('nbdinfo says the same of us and of nbdkit', { concurrency: 2 }, () => {
  const same: [what: string, ...args: string[]][] = [
    ['for memory', 'memory', '1M'],
    ['for memory that is read-only', '-r', 'memory', '1M'],
    ['for memory of an odd size', 'memory', '1234567'],
    ['for memory of 8 PiB less one byte', 'memory', '9007199254740991'],
    ['for an export with a name', '-e', 'a name / ü', 'memory', '1M'],
    ['for null', 'null', '1G'],
    ['for null without a size', 'null'],
    ['for a filter in front', '--filter=offset', 'memory', '1M', 'offset=64k', 'range=128k'],
  ]
  for (const [what, ...args] of same)
    test(what, needs('nbdinfo', 'nbdkit'), async (t) => {
      const [ours, theirs] = [await serve(t, ...args), await serveWithNbdkit(t, ...args)]
      assert.deepEqual(await shared(ours), await shared(theirs))
      assert.deepEqual(await shared(ours, '--list'), await shared(theirs, '--list'))
    })

  test(
    'without structured replies, but for the contexts that nbdkit lists',
    needs('nbdinfo', 'nbdkit'),
    async (t) => {
      const args = ['--no-sr', 'memory', '1M']
      const [ours, theirs] = [await serve(t, ...args), await serveWithNbdkit(t, ...args)]
      const [found, expected] = [await shared(ours), await shared(theirs)]
      // docs/differences.md. libnbd 1.22 asks for the list all the same, 1.14 does not.
      const asks = isVersion('nbdinfo', '1.18')
      assert.equal(found.exports[0]?.contexts, undefined)
      assert.deepEqual(expected.exports[0]?.contexts, asks ? ['base:allocation'] : undefined)
      const without = (all: Info) => all.exports.map(({ contexts: _, ...one }) => one)
      assert.deepEqual({ ...found, exports: without(found) }, { ...expected, exports: without(expected) })
    },
  )

  test('for a file', needs('nbdinfo', 'nbdkit'), async (t) => {
    const path = sparseFile(t)
    for (const options of [[], ['-r']]) {
      const args = [...options, 'file', path]
      const [ours, theirs] = [await serve(t, ...args), await serveWithNbdkit(t, ...args)]
      const expected = options.length > 0 ? await shared(theirs) : withFastZeroes(await shared(theirs))
      assert.deepEqual(await shared(ours), expected)
    }
  })

  test('for the files of a directory, each an export', needs('nbdinfo', 'nbdkit'), async (t) => {
    const directory = temporary(t)
    for (const [name, text] of [
      ['one', 'text'],
      ['another', '<xml/>'],
      ['with space', ''],
    ] as const)
      writeFileSync(join(directory, name), text.repeat(1000))
    const args = ['file', `dir=${directory}`]
    const [ours, theirs] = [await serve(t, ...args), await serveWithNbdkit(t, ...args)]
    const listed = await shared(ours, '--list')
    assert.deepEqual(
      listed.exports.map((one) => one['export-name']),
      ['another', 'one', 'with space'],
    )
    assert.deepEqual(listed, withFastZeroes(await shared(theirs, '--list')))
  })

  test('for the map of a sparse file, and of one that is all data', needs('nbdinfo', 'nbdkit'), async (t) => {
    const path = sparseFile(t)
    const whole = join(temporary(t), 'whole')
    writeFileSync(whole, Buffer.alloc(65536, 1))
    for (const file of [path, whole]) {
      const [ours, theirs] = [await serve(t, 'file', file), await serveWithNbdkit(t, 'file', file)]
      assert.deepEqual(await map(ours), await map(theirs))
    }
  })
})

describe('nbdinfo tells us from nbdkit', () => {
  test('by the headers, which are extended here', needsVersion('nbdinfo', '1.18', 'nbdkit'), async (t) => {
    const [ours, theirs] = [await serve(t, 'memory', '1M'), await serveWithNbdkit(t, 'memory', '1M')]
    const [mine, other] = [await info(ours), await info(theirs)]
    assert.deepEqual([mine.structured, mine.extended], [true, true])
    assert.deepEqual([other.structured, other.extended], [true, false])
    assert.match(await output('nbdinfo', [ours.uri]), /using extended packets/)
    assert.match(await output('nbdinfo', [theirs.uri]), /using structured packets/)
  })

  test(
    'by the block sizes of memory, which are told by nbdkit alone, and by the longest payload',
    needsVersion('nbdkit', '1.38', 'nbdinfo'),
    async (t) => {
      const sizes = async (server: Serving) => {
        const [one] = (await info(server)).exports
        return [one?.block_size_minimum, one?.block_size_preferred, one?.block_size_maximum]
      }
      const native = await serve(t, nbdkitPlugin('memory'), '1M')
      assert.deepEqual(await sizes(await serveWithNbdkit(t, 'memory', '1M')), [1, 32_768, 2 ** 32 - 1])
      assert.deepEqual(await sizes(native), [1, 32_768, 64 * 2 ** 20])
      assert.deepEqual(await sizes(await serve(t, 'memory', '1M')), [undefined, undefined, undefined])
    },
  )
})

/** 100 bytes of data in 4 MiB, and data at the very end. */
function sparseFile(t: TestContext): string {
  const path = join(temporary(t), 'sparse')
  writeFileSync(path, 'x'.repeat(100))
  truncateSync(path, 2 ** 20)
  writeFileSync(path, Buffer.alloc(2 ** 20, 'y'), { flag: 'a' })
  truncateSync(path, 2 ** 22)
  writeFileSync(path, 'the end', { flag: 'a' })
  return path
}

async function map(server: Serving): Promise<unknown> {
  return JSON.parse(await output('nbdinfo', ['--map', '--json', server.uri]))
}

test(
  'nbdinfo maps memory: what was written is data, the rest is a hole',
  needs('nbdinfo', 'qemu-io'),
  async (t) => {
    const server = await serve(t, 'memory', '8M')
    assert.deepEqual(await map(server), [
      { offset: 0, length: 8 * 2 ** 20, type: 3, description: 'hole,zero' },
    ])
    await output('qemu-io', ['-f', 'raw', '-c', 'write -P 7 1M 1M', '-c', 'write -P 8 6M 2M', server.uri])
    const { length, ...types } = await totals(server)
    assert.equal(length, 8 * 2 ** 20)
    assert.deepEqual(types, { data: 3 * 2 ** 20, hole: 5 * 2 ** 20 })
  },
)

async function totals(server: Serving): Promise<{ data: number; hole: number; length: number }> {
  const runs = (await map(server)) as { length: number; type: number }[]
  const sum = (some: typeof runs) => some.reduce((total, { length }) => total + length, 0)
  const isData = ({ type }: { type: number }) => type === 0
  return { data: sum(runs.filter(isData)), hole: sum(runs.filter((one) => !isData(one))), length: sum(runs) }
}

test('nbdinfo is told why there is no such export', needs('nbdinfo'), async (t) => {
  const server = await serve(t, 'file', `dir=${temporary(t)}`)
  const uri = server.uri.replace(':///', ':///missing')
  await assert.rejects(output('nbdinfo', [uri]), /status 1/)
  assert.match(server.log(), /export "missing"/)
})
