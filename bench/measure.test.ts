/** Measures rows with real servers, as briefly as possible. A row that is not measured says why. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { needs } from '../tests/interop/helpers.js'
import { fioSample } from './clients.js'
import { Images } from './images.js'
import { measure } from './measure.js'
import { cpuUsIn, memoryIn } from './proc.js'
import { fill } from './results-file.js'
import { IMAGE, mebibytes, milliseconds, perSecond, type Row, seconds, URI } from './row.js'

function run(t: TestContext, row: Row) {
  const images = new Images()
  t.after(() => images.removeAll())
  return measure(row, { pairs: 1, seconds: 0.05, images })
}

const load: Row = {
  name: 'a row',
  disk: { args: ['memory', '1M'], prepare: ['--mode=write', '--block=64K', '--count=16', '--sequential'] },
  client: { program: 'load', args: ['--depth=16', '--warm-up=0.01'] },
  measures: perSecond,
}

describe('a row is measured', { concurrency: 2 }, () => {
  test('with the load client, side by side with nbdkit', needs('nbdkit'), async (t) => {
    const { figures, failed } = await run(t, load)
    assert.equal(failed, undefined)
    assert.ok((figures.nbdkit?.ratio?.median ?? 0) > 0)
    for (const each of [figures.ours, figures.nbdkit])
      assert.ok((each?.figure ?? 0) > 0 && (each?.residentMiB ?? 0) > 0)
  })
  test('over TCP, and beside ours without filters', needs('nbdkit'), async (t) => {
    const disk = { args: ['--filter=nofilter', 'null', '1M'], tcp: true } as const
    const { figures, failed } = await run(t, { ...load, disk, others: ['no filters'] })
    assert.equal(failed, undefined)
    assert.ok((figures['no filters']?.ratio?.median ?? 0) > 0)
  })
  test('with a client that tells nothing but how long it took', needs('nbdkit', 'nbdinfo'), async (t) => {
    const image = { name: 'small', bytes: 65536, holeBytes: 4096 }
    const client = { program: 'nbdinfo', args: ['--map', URI], requests: 16 } as const
    const row = { ...load, disk: { args: ['file', IMAGE], image }, client, measures: seconds }
    const { figures, failed } = await run(t, row)
    assert.equal(failed, undefined)
    assert.ok((figures.ours?.figure ?? 0) > 0)
  })
  test('by its start, and by the memory of connections that stand', needs('nbdkit'), async (t) => {
    const disk = { args: ['null'] }
    const start = await run(t, { ...load, disk, client: { program: 'start' }, measures: milliseconds })
    assert.ok((start.figures.nbdkit?.figure ?? 0) > 0)
    const client = { program: 'hold', args: ['--connections=3'], memory: 'peak', settleMs: 0 } as const
    const row = { ...load, disk, client, measures: mebibytes }
    assert.equal((await run(t, { ...row, limit: 10_000 })).failed, undefined)
    const much = await run(t, { ...row, limit: 1 })
    assert.match(much.failed ?? '', /^\d+ MiB is more than the limit, 1$/)
    assert.ok((much.figures.ours?.figure ?? 0) > 1)
  })
})

describe('a row fails, and says why', { concurrency: 2 }, () => {
  test('when the client does', needs('nbdkit'), async (t) => {
    const client = { program: 'load', args: ['--mode=dance'] } as const
    const { failed, figures } = await run(t, { ...load, client })
    assert.match(failed ?? '', /^ours: load ended with status 1: load: "dance" is no mode/)
    assert.deepEqual(figures, {})
  })
  test('when a server does', needs('nbdkit'), async (t) => {
    const { failed } = await run(t, { ...load, disk: { args: ['memory', 'much'] } })
    assert.match(failed ?? '', /^ours: ours ended with status 1: nbdkit-ts: .*; nbdkit: nbdkit ended/)
  })
})

test('what fio did is read from its JSON, whatever stands before', () => {
  const job = { read: { iops: 1000.5, total_ios: 900 }, write: { iops: 10, total_ios: 9 } }
  assert.deepEqual(fioSample(`fio: a warning\n${JSON.stringify({ jobs: [job] })}`), {
    figure: 1010.5,
    requests: 909,
  })
  const none = { read: { iops: 0, total_ios: 0 }, write: { iops: 0, total_ios: 0 } }
  assert.throws(() => fioSample(JSON.stringify({ jobs: [none] })), /fio did nothing/)
})

test('time and memory are read from /proc, also of a program with an odd name', () => {
  const before = Array.from({ length: 10 }, (_, at) => at).join(' ')
  assert.equal(cpuUsIn(`12 (a) S 1) S ${before} 150 50 7 7`), 2_140_000)
  const status = 'Name:\tnode\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n'
  assert.deepEqual(memoryIn(status), { residentBytes: 2 ** 20, peakBytes: 2 ** 21 })
  assert.throws(() => memoryIn('Name:\tnode\n'), /tells no VmRSS: the process has ended/)
})

test('figures are put between two lines of the page, and nothing else is touched', () => {
  const [begin, end] = ['begin', 'end'].map((word) => `<!-- made by bench/results-file.ts: ${word} -->`)
  assert.equal(fill(`a\n${begin}\nold\n${end}\nb\n`, 'new'), `a\n${begin}\n\nnew\n\n${end}\nb\n`)
  assert.throws(() => fill('a\n', 'new'), /the page has no lines/)
})
