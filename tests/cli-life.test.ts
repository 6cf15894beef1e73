/** From its first moment on the program can be stopped, and its status says how it ended. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { newDirectory, type Result, result, root, run, start, started } from './cli-helpers.js'

const together = { concurrency: 2 }

/** A plugin that does something while it starts, and tells that it is there. */
function starting(parts: { before?: string; setup?: string; ready?: string; more?: string }): string {
  const { before = '', setup = '', ready = '', more = '' } = parts
  return `
import { definePlugin } from 'nbdkit-ts'
import { open } from 'node:fs/promises'
const never = () => (console.log('here'), setInterval(() => {}, 1000), new Promise(() => {}))
const stopping = (server) => {
  const timer = setInterval(() => {}, 1000)
  return new Promise((end) => server.stopping.addEventListener('abort', () => (clearInterval(timer), end())))
}
const fifo = () => (console.log('here'), open('fifo', 'r'))
${before}
export default definePlugin({
  name: 'slow', description: '', params: {}, ${more || "threads: 'isolated',"}
  async setup(values, server) {
    ${setup}
    return { async ready() { ${ready} }, open: () => ({ size: 512, read: (o, l, a) => a(l).fill(0) }) }
  },
})
`
}

interface Starting {
  readonly args?: readonly string[]
  readonly signals: readonly NodeJS.Signals[]
}

/** Starts the plugin, signals once it is there, and returns how the program ended. */
async function interrupted(plugin: string, { args = ['-U', 's'], signals }: Starting): Promise<Result> {
  const cwd = newDirectory({ 'slow.mjs': plugin })
  spawnSync('mkfifo', [join(cwd, 'fifo')])
  const child = start(['-f', '--shutdown-timeout=100ms', ...args, './slow.mjs'], {
    cwd,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const ended = result(child)
  await said(child, 'here')
  for (const signal of signals) child.kill(signal)
  const end = await ended
  assert.deepEqual(
    readdirSync(cwd).filter((name) => name === 's'),
    [],
  )
  return end
}

/** Resolves when the program, or its plugin, has printed this. */
async function said(child: ChildProcess, text: string): Promise<void> {
  for (let all = ''; !all.includes(text); ) {
    const streams = [child.stdout, child.stderr].flatMap((stream) => stream ?? [])
    const [chunk] = (await Promise.race(streams.map((stream) => once(stream, 'data')))) as [Buffer]
    all += chunk
  }
}

describe('until it serves, a signal ends the program', together, () => {
  const stuck: [what: string, plugin: string, named: RegExp, args?: string[]][] = [
    ['setup never settles', starting({ setup: 'await never()' }), /slow: setup was called/],
    ['ready never settles', starting({ ready: 'await never()' }), /slow: ready was called/],
    [
      'setup opens a FIFO that nobody writes to',
      starting({ setup: 'await fifo()' }),
      /slow: setup was called/,
    ],
    [
      'ready never settles, with a client on -s',
      starting({ ready: 'console.error("here"); await never()' }),
      /slow: ready/,
      ['-s'],
    ],
    [
      'a thread of --workers is never ready',
      starting({ ready: 'await never()' }),
      /slow: ready was called/,
      ['--workers=2', '-U', 's'],
    ],
    [
      'what threads have in common is never there',
      starting({ more: 'threads: { share: () => never() },' }),
      /the server does not stop: it is given up/,
      ['--workers=2', '-U', 's'],
    ],
  ]
  for (const [what, plugin, named, args] of stuck)
    for (const signals of [['SIGTERM'], ['SIGINT', 'SIGTERM']] as const)
      it(`where ${what}: ${signals.join(', ')}`, async () => {
        const { status, stderr } = await interrupted(plugin, { signals, ...(args ? { args } : {}) })
        assert.match(stderr, named)
        assert.equal(status, 1)
      })

  it('where the file of --pidfile is a FIFO that nobody reads', async () => {
    const cwd = newDirectory()
    spawnSync('mkfifo', [join(cwd, 'fifo')])
    const child = start(['-f', '-v', '-U', 's', '-P', 'fifo', 'null'], { cwd })
    const ended = result(child)
    await said(child, 'server ready -> serving')
    child.kill('SIGTERM')
    assert.equal((await ended).status, 0)
    assert.deepEqual(readdirSync(cwd), ['fifo'])
  })

  it('and a plugin that did settle is closed, with status 0', async () => {
    const plugin = starting({
      setup: `console.log('here'); await stopping(server)`,
    })
    const { status, stderr } = await interrupted(plugin, { signals: ['SIGTERM'] })
    assert.deepEqual([status, stderr], [0, ''])
  })
})

describe('the command of --run that was never started', together, () => {
  const waits = starting({
    setup: `console.log('here'); await stopping(server)`,
  })
  for (const [signal, expected] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
    ['SIGQUIT', 131],
  ] as const)
    it(`gives status ${expected} after ${signal} while a layer is set up`, async () => {
      const cwd = newDirectory({ 'slow.mjs': waits })
      const child = start(['./slow.mjs', '--run', 'touch ran'], { cwd })
      const ended = result(child)
      await said(child, 'here')
      child.kill(signal)
      assert.equal((await ended).status, expected)
      assert.equal(existsSync(join(cwd, 'ran')), false)
    })
  it('gives status 1, and a sentence, where a layer has asked for a shutdown', async () => {
    const cwd = newDirectory({ 'slow.mjs': starting({ setup: 'server.shutdown()' }) })
    const { status, stderr } = await run(['./slow.mjs', '--run', 'touch ran'], { cwd })
    assert.equal(stderr, 'nbdkit-ts: --run: the server was stopped before the command could be started\n')
    assert.equal(status, 1)
    assert.equal(existsSync(join(cwd, 'ran')), false)
  })
})

describe('SIGUSR1', together, () => {
  it('ends the server as it ends nbdkit, and opens no debugger', async () => {
    const { child, ended } = await started(['-U', '-', 'null'])
    child.kill('SIGUSR1')
    const { stderr } = await ended
    assert.equal(stderr, '')
    assert.equal(child.signalCode, 'SIGUSR1')
  })
  it('ends a start in the background, and its copy', async () => {
    const cwd = newDirectory({ 'slow.mjs': starting({ setup: `console.log('here'); await never()` }) })
    const child = start(['-U', 's', '-P', 'pid', './slow.mjs'], { cwd })
    const ended = result(child)
    await said(child, 'here')
    child.kill('SIGUSR1')
    assert.equal((await ended).status, 128 + 10)
  })
})

describe('a standard output or error that nobody takes', together, () => {
  const noisy = starting({
    setup: `const words = setInterval(() => {
      for (const stream of [process.stdout, process.stderr]) stream.write('word\\n')
      console.log('word'); console.error('word')
    }, 5)
    setTimeout(() => { clearInterval(words); server.shutdown() }, 200)`,
  })
  const shell = (cwd: string, command: string) =>
    spawnSync('sh', ['-c', command], {
      cwd,
      encoding: 'utf8',
      env: { ...process.env, K: `${process.execPath} ${join(root, 'bin/nbdkit-ts')}` },
    })
  it('does not end a server whose plugin prints', () => {
    const cwd = newDirectory({ 'noisy.mjs': noisy })
    for (const where of ['>&- 2>&-', '>/dev/full 2>/dev/full', '2>&1 | true']) {
      const { stdout } = shell(
        cwd,
        `{ $K -f -U - ./noisy.mjs; echo "status $?" >&3; } 3>&1 ${where} `.replace(
          /\} 3>&1 (.*)\| true/,
          '} 3>status $1| true; cat status',
        ),
      )
      assert.equal(stdout, 'status 0\n', where)
    }
  })
  it('does not change how what is told of it ends', () => {
    const cwd = newDirectory()
    for (const task of [
      '--help',
      '--version',
      '--dump-config',
      'null --dump-plugin',
      '--long-options',
      '--short-options',
    ])
      for (const where of ['>&-', '>/dev/full'])
        assert.deepEqual(shell(cwd, `$K ${task} ${where}; echo $?`).stderr, '', `${task} ${where}`)
  })
})
