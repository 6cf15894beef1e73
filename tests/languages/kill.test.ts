/**
 * The process of a plugin is killed at any moment, while clients have requests on the way: each request is
 * answered once, by its data or by EIO, and the server lives.
 */

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServer, type Layer } from 'nbdkit-ts'
import native from 'nbdkit-ts/plugins/native'
import python from 'nbdkit-ts/plugins/python'
import sh from 'nbdkit-ts/plugins/sh'
import { type Random, type RawClient, seeded } from 'nbdkit-ts/testing'
import { NBD_CMD_READ, NBD_CMD_WRITE, NBD_EIO } from '../../src/protocol/constants.js'
import { connectTo } from '../../src/testing/connect.js'
import { until } from '../../src/testing/until.js'
import { temporary } from '../interop/helpers.js'
import { packageRoot } from '../programs.js'
import { languages } from './builds.js'

const example = (name: string) => join(packageRoot, 'examples', 'languages', name)
const compiled = languages.find(({ name }) => name === 'C')

const plugins: readonly {
  readonly name: string
  readonly options: { readonly skip: string | false }
  readonly layer: () => Layer<'plugin'>
  /** A process serves all clients, and another can be started. */
  readonly shared: boolean
}[] = [
  {
    name: 'Python',
    options: { skip: false },
    layer: () => python({ script: example('disk.py'), restart: true }),
    shared: true,
  },
  {
    name: 'C',
    options: compiled?.needs ?? { skip: 'there is no plugin in C' },
    layer: () => native({ plugin: compiled?.words()[0] ?? '', restart: true }),
    shared: true,
  },
  {
    name: 'a coprocess',
    options: { skip: false },
    layer: () => sh({ script: example('coprocess.pl'), coprocess: true }),
    shared: false,
  },
]

/** Processes that one has started, those first that were first. */
function children(of = process.pid): number[] {
  const { stdout } = spawnSync('ps', ['-o', 'pid=,stat=,args=', '--ppid', String(of)], {
    encoding: 'utf8',
  })
  const lines = stdout.split('\n').filter((line) => / [^Z]\S* /.test(line) && !line.includes('ps -o'))
  return lines.map((line) => Number.parseInt(line, 10))
}

const requests = 60
const depth = 12

/** Reads and writes with some on the way at once, and gives how each was answered. */
async function drive(client: RawClient, random: Random, answered: () => void): Promise<number[]> {
  const errors: number[] = []
  let sent = 0
  const send = () => {
    const length = random.chance(0.2) ? 65536 : 512
    const offset = random.below(8) * 65536
    const cookie = ++sent
    const payload = Buffer.alloc(length, cookie)
    if (random.chance(0.5)) client.sendRequest({ type: NBD_CMD_READ, cookie, offset, length })
    else client.sendRequest({ type: NBD_CMD_WRITE, cookie, offset, length, payload })
  }
  while (sent < depth) send()
  const seen = new Set<number>()
  while (seen.size < requests) {
    const { cookie, error } = await client.reply()
    assert.ok(!seen.has(cookie) && cookie <= sent, `a second answer to ${cookie}`)
    seen.add(cookie)
    errors.push(error)
    answered()
    if (sent < requests) send()
  }
  return errors
}

async function round(t: TestContext, layer: Layer<'plugin'>, shared: boolean, seed: number): Promise<void> {
  const random = seeded(seed)
  const server = createServer({ plugin: layer })
  t.after(() => server.shutdown({ graceMs: 0 }))
  const before = children()
  const connect = async () => (await connectTo(server)).client
  const clients = [await connect(), await connect(), await connect()]
  const started = children().filter((pid) => !before.includes(pid))
  assert.equal(started.length, shared ? 1 : clients.length)
  const [victim = 0] = started
  let left = random.below(requests * clients.length - 1)
  const answered = () => {
    if (left-- === 0) process.kill(victim, 'SIGKILL')
  }
  const all = await Promise.all(clients.map((client) => drive(client, random, answered)))
  for (const errors of all) assert.ok(errors.every((error) => error === 0 || error === NBD_EIO))
  if (!shared) for (const errors of all.slice(1)) assert.ok(errors.every((error) => error === 0))
  // Who comes now is served, by the other process.
  const errors = await drive(await connect(), random, () => {})
  assert.ok(errors.every((error) => error === 0))
  await server.shutdown()
  assert.deepEqual(
    children().filter((pid) => !before.includes(pid)),
    [],
  )
}

for (const { name, options, layer, shared } of plugins)
  describe(`a plugin in ${name}, whose process is killed`, options, () => {
    for (let seed = 1; seed <= 12; seed++)
      it(`answers each request once, and the server lives: seed ${seed}`, (t) =>
        round(t, layer(), shared, seed))
  })

describe('the process of a plugin', () => {
  const words: Readonly<Record<string, () => readonly string[]>> = {
    Python: () => ['python', example('disk.py')],
    C: () => compiled?.words() ?? [],
  }
  for (const [name, plugin] of Object.entries(words))
    it(`in ${name} ends when the server is killed`, compiled?.needs, async (t) => {
      const socket = join(temporary(t), 'socket')
      const program = join(packageRoot, 'bin', 'nbdkit-ts')
      const server = spawn(process.execPath, [program, '-f', '-U', socket, ...plugin()], { stdio: 'ignore' })
      await until(() => existsSync(socket))
      const [pid = 0] = children(server.pid)
      assert.ok(pid > 0)
      server.kill('SIGKILL')
      const state = () => spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout
      for (let waits = 0; /^[^Z]/.test(state()); waits++) {
        assert.ok(waits < 500, 'it still runs')
        await sleep(10)
      }
    })
})
