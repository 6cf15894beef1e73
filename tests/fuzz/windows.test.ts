/**
 * Random runs of clients that die in the middle of large writes, against every disk in memory. WINDOW_RUNS=n
 * makes more of them, from WINDOW_FIRST=n on. WINDOW_SEED=n makes only that one.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { silentLog } from '../../src/api/log.js'
import offset from '../../src/filters/offset/offset.js'
import { createServer, defineFilter, type Layer } from '../../src/index.js'
import data from '../../src/plugins/data/data.js'
import memory from '../../src/plugins/memory/memory.js'
import { pair, RawClient } from '../../src/testing/index.js'
import { started } from '../cli-helpers.js'
import { diskBytes, runWindowModel } from './window-model.js'

const { WINDOW_RUNS = '12', WINDOW_FIRST = '1', WINDOW_SEED } = process.env
const first = Number(WINDOW_SEED ?? WINDOW_FIRST)
const last = WINDOW_SEED === undefined ? first + Number(WINDOW_RUNS) - 1 : first

/** Seed 1 showed bytes of a write that never came, when windows were memory of the disk itself. */
const seeds = Array.from({ length: last - first + 1 }, (_, index) => first + index)

/** Notes what is lent by the disk below, and what became of it. */
function counting(counts: { lent: number; written: number; released: number }) {
  return defineFilter({
    name: 'counting',
    description: 'for tests',
    params: {},
    setup: () => ({
      async open(request, next) {
        const device = await next(request)
        const out = new Set<Uint8Array>()
        return {
          ...device,
          window(at, length) {
            const view = device.window(at, length)
            if (view) out.add(view)
            if (view) counts.lent++
            return view
          },
          write(at, bytes, flags) {
            if (out.has(bytes)) counts.written++
            return device.write(at, bytes, flags)
          },
          release(view) {
            assert.ok(out.delete(view), 'what is given back was lent, and comes back once')
            counts.released++
            device.release(view)
          },
        }
      },
    }),
  })()
}

/** A server of a disk on a Unix socket, or on pairs of streams. */
async function serve(
  t: TestContext,
  transport: 'pair' | 'unix',
  plugin: Layer<'plugin'>,
  filters: Layer<'filter'>[] = [],
) {
  const counts = { lent: 0, written: 0, released: 0 }
  const server = createServer({ plugin, filters: [counting(counts), ...filters], log: silentLog })
  const directory = mkdtempSync(join(tmpdir(), 'windows-'))
  const path = join(directory, 'socket')
  if (transport === 'unix') await server.listen({ path })
  t.after(async () => {
    await server.shutdown({ graceMs: 0 })
    rmSync(directory, { recursive: true })
  })
  const connect = async () => {
    let client: RawClient
    if (transport === 'unix') client = await RawClient.connect({ path })
    else {
      const [ours, theirs] = pair()
      await server.serve(ours)
      client = new RawClient(theirs)
    }
    await client.go()
    return client
  }
  return { server, counts, connect }
}

/** As it was: the model begins with an empty disk in each run. */
async function blank(connect: () => Promise<RawClient>): Promise<void> {
  const client = await connect()
  const [reply] = await client.request({ type: 6, offset: 0, length: diskBytes })
  assert.equal(reply?.error, 0)
  client.stream.destroy()
}

const lending: [name: string, plugin: () => Layer<'plugin'>, filters?: () => Layer<'filter'>[]][] = [
  ['memory', () => memory({ size: diskBytes })],
  ['data', () => data({ data: '', size: diskBytes })],
  ['memory behind offset', () => memory({ size: '6M' }), () => [offset({ offset: '1M', range: diskBytes })]],
]

describe('a write that never came changes nothing, and one that came is whole (C12)', () => {
  for (const transport of ['unix', 'pair'] as const)
    for (const [name, plugin, filters] of lending)
      it(`in ${seeds.length} random runs of ${name}, ${transport}`, async (t) => {
        const { server, counts, connect } = await serve(t, transport, plugin(), filters?.())
        for (const seed of seeds) {
          await blank(connect)
          await runWindowModel(seed, connect)
        }
        await server.shutdown({ graceMs: 0 })
        assert.equal(counts.released, counts.lent, 'what was lent came back')
        assert.ok(counts.written > seeds.length, `only ${counts.written} windows were written`)
        assert.ok(counts.lent - counts.written > seeds.length, `of ${counts.lent} windows few were abandoned`)
      })

  it(`in ${seeds.length} random runs of memory in one piece`, async (t) => {
    const { connect } = await serve(t, 'unix', memory({ size: diskBytes, allocator: 'malloc' }))
    for (const seed of seeds) {
      await blank(connect)
      await runWindowModel(seed, connect)
    }
  })

  const needsLibc = { skip: process.platform === 'linux' ? false : 'only Linux has threads that serve' }
  it(`in ${seeds.length} random runs of memory that several threads share`, needsLibc, async (t) => {
    const { child, uri } = await started(['-U', '-', '--workers=2', 'memory', String(diskBytes)])
    t.after(() => child.kill('SIGKILL'))
    const connect = async () => {
      const client = await RawClient.connect({ path: new URL(uri).searchParams.get('socket') ?? '' })
      await client.go()
      return client
    }
    for (const seed of seeds) {
      await blank(connect)
      await runWindowModel(seed, connect)
    }
  })
})
