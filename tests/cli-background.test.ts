/** Without `-f`: into the background. What the caller gets, what stays, and what does not. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, openSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { RawClient } from '../src/testing/raw-client.js'
import { until } from '../src/testing/until.js'
import { greeting, newDirectory, program, result, run, start, temporary, uriLines } from './cli-helpers.js'

const onLinux = process.platform === 'linux'

/** A plugin whose `setup` is this; `ready` resolves when there is a file `go` in the directory. */
function plugin(setup: string): string {
  return `
import { existsSync } from 'node:fs'
import { ConfigError, definePlugin, param } from 'nbdkit-ts'
const directory = process.cwd()
const until = async (holds) => {
  while (!holds()) await new Promise((wake) => setTimeout(wake, 10))
}
const ready = () => until(() => existsSync(directory + '/go'))
const signalled = (signal) => {
  let came = false
  process.once(signal, () => (came = true))
  return until(() => came)
}
const open = () => ({ size: 4096, read() {} })
export default definePlugin({
  name: 'mine', description: 'a plugin of a test',
  params: { password: param.password({ doc: 'A password.' }) },
  async setup({ password }, server) { ${setup} },
})
`
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // A process that has ended, and whose parent has not asked how, is a zombie.
    return !(onLinux && /^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8')))
  } catch {
    return false
  }
}

function pidIn(directory: string): number {
  return Number(readFileSync(join(directory, 'pid'), 'utf8'))
}

/** Asks a server in the background to stop, and waits until it has. */
async function stop(pid: number): Promise<void> {
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid))
}

/** Serves on `s` in a new directory, with its process id in `pid`. It is stopped after the test. */
async function inBackground(t: TestContext, args: readonly string[], files: Record<string, string> = {}) {
  const cwd = newDirectory(files)
  const ended = await run(['-U', 's', '-P', 'pid', ...args], { cwd })
  const pid = existsSync(join(cwd, 'pid')) ? pidIn(cwd) : undefined
  t.after(() => pid !== undefined && isAlive(pid) && stop(pid))
  return { cwd, ended, pid: pid ?? assert.fail(`no process id: ${ended.stderr}`) }
}

const together = { concurrency: 4 }
const silently = { status: 0, stdout: '', stderr: '' }

describe('in the background', together, () => {
  it('a server is ready when the caller goes on', async (t) => {
    const { cwd, ended, pid } = await inBackground(t, ['null'])
    assert.deepEqual(ended, silently)
    assert.equal(await greeting(connect(join(cwd, 's'))), 'NBDMAGIC')
    await stop(pid)
    assert.deepEqual(readdirSync(cwd), ['pid'])
  })
  it('its process id is written, not that of the caller', async (t) => {
    const cwd = newDirectory()
    const child = start(['-U', 's', '-P', 'pid', 'null'], { cwd })
    assert.deepEqual(await result(child), silently)
    const pid = pidIn(cwd)
    t.after(() => stop(pid))
    assert.notEqual(pid, child.pid)
    assert.equal(isAlive(pid), true)
  })
  it('its URI is printed for the caller', async (t) => {
    const { cwd, ended } = await inBackground(t, ['--print-uri', 'null'])
    assert.deepEqual(ended, { ...silently, stdout: uriLines(`nbd+unix://?socket=${cwd}/s`) })
  })
  it('it keeps nothing of the caller: neither directory, nor terminal, nor pipes', async (t) => {
    if (!onLinux) return t.skip('Linux tells what a process has open')
    const { pid } = await inBackground(t, ['null'])
    assert.equal(readlinkSync(`/proc/${pid}/cwd`), '/')
    for (const fd of [0, 1, 2]) assert.equal(readlinkSync(`/proc/${pid}/fd/${fd}`), '/dev/null')
    const session = / \(.*\) \S+ \d+ \d+ (\d+) (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    assert.deepEqual(session?.slice(1), [String(pid), '0'], 'a session of its own, without a terminal')
  })
  it('what a plugin prints while it is set up reaches the caller, and later nobody', async (t) => {
    const text = plugin(`console.log('now'); return { open() { console.log('later'); return open() } }`)
    const { ended, cwd, pid } = await inBackground(t, ['./x.mjs'], { 'x.mjs': text })
    assert.deepEqual(ended, { ...silently, stdout: 'now\n' })
    await greeting(connect(join(cwd, 's')))
    assert.equal(isAlive(pid), true)
  })
  it('its private socket is removed when it stops', async (t) => {
    const cwd = newDirectory()
    const { stdout } = await run(['-U', '-', '--print-uri', '-P', 'pid', 'null'], { cwd })
    const [, path = ''] = /socket=(.*)\n/.exec(stdout) ?? []
    t.after(() => assert.equal(existsSync(path), false))
    assert.equal(existsSync(path), true)
    await stop(pidIn(cwd))
  })
})

describe('a start that fails in the background', together, () => {
  const fails = async (setup: string, args: readonly string[] = []) => {
    const cwd = newDirectory({ 'x.mjs': plugin(setup) })
    const ended = await run(['-U', 's', '-P', 'pid', ...args, './x.mjs'], { cwd })
    assert.deepEqual(readdirSync(cwd), ['x.mjs'], 'nothing stays behind')
    return ended
  }
  it('gives the caller its message and its status', async () => {
    const { status, stderr } = await fails(`throw new ConfigError('there is no tape')`)
    assert.equal(stderr, 'nbdkit-ts: there is no tape\n')
    assert.equal(status, 1)
  })
  it('tells why on standard error wherever messages go', async () => {
    const { stderr } = await fails(`throw new ConfigError('there is no tape')`, ['--log=null'])
    assert.equal(stderr, 'nbdkit-ts: there is no tape\n')
  })
  it('is no failure when a layer asks to stop: then the status is 0', async () => {
    assert.deepEqual(await fails('server.shutdown(); return { open }'), silently)
  })
  it('is one when a layer waits for what never comes', async () => {
    const { status, stderr } = await fails('await new Promise(() => {})')
    assert.equal(
      stderr,
      'nbdkit-ts: nothing is left to do, and yet a layer waits for something: it is given up\n',
    )
    assert.equal(status, 1)
  })
  it('is told of when the server is killed', async () => {
    const { status, stderr } = await fails(`process.kill(process.pid, 'SIGKILL'); await ready()`)
    assert.equal(stderr, 'nbdkit-ts: it was killed by SIGKILL before clients could connect\n')
    assert.equal(status, 128 + 9)
  })
})

describe('a signal while a server starts in the background', together, () => {
  /** The caller, and the server that is being set up. */
  const starting = async (setup: string) => {
    const cwd = newDirectory({ 'x.mjs': plugin(`console.log(process.pid); ${setup}`) })
    const caller = start(['-U', 's', '-P', 'pid', './x.mjs'], { cwd })
    const ended = result(caller)
    const [line] = (await once(caller.stdout ?? assert.fail(), 'data')) as [Buffer]
    return { cwd, caller, ended, pid: Number(line.toString()) }
  }
  const nothingStays = async ({ cwd, pid }: { cwd: string; pid: number }) => {
    await until(() => !isAlive(pid))
    assert.deepEqual(
      readdirSync(cwd).filter((name) => name !== 'go'),
      ['x.mjs'],
    )
  }

  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const)
    it(`stops both: ${signal}`, async () => {
      const both = await starting(`await signalled('${signal}'); return { open }`)
      both.caller.kill(signal)
      assert.equal((await both.ended).status, 128 + number)
      await nothingStays(both)
    })
  it('stops both at once the third time, whatever the server does', async () => {
    const both = await starting('for (;;);')
    // Two that come together are one, which on a busy machine they may also 100 ms apart.
    for (let count = 0; count < 100 && both.caller.exitCode === null; count++) {
      both.caller.kill('SIGINT')
      await sleep(100)
    }
    assert.equal((await both.ended).status, 128 + 2)
    await nothingStays(both)
  })
  it('that kills the caller ends the server too, as nobody has been told of it', async () => {
    const both = await starting('await ready(); return { open }')
    both.caller.kill('SIGKILL')
    await once(both.caller, 'exit')
    writeFileSync(join(both.cwd, 'go'), '')
    await nothingStays(both)
  })
})

describe('what the caller has open is open in the background', together, () => {
  /** Starts it with `fd` 5 open. */
  const withFive = async (t: TestContext, args: readonly string[], fd: number | 'pipe', input = '') => {
    if (!onLinux) {
      t.skip('on Linux only')
      return undefined
    }
    const cwd = newDirectory({ 'x.mjs': plugin(`console.log(password); return { open }`) })
    const child: ChildProcess = spawn(process.execPath, [program, '-U', 's', '-P', 'pid', ...args], {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe', 'ignore', 'ignore', fd],
      env: { PATH: process.env.PATH, TMPDIR: temporary },
    })
    const pipe = (child.stdio as readonly unknown[])[5] as Writable | null
    pipe?.end(input)
    const ended = await result(child)
    t.after(() => existsSync(join(cwd, 'pid')) && stop(pidIn(cwd)))
    return ended
  }
  it('a file', async (t) => {
    const disk = join(newDirectory({ disk: 'x'.repeat(4096) }), 'disk')
    const ended = await withFive(t, ['file', 'fd=5'], openSync(disk, 'r+'))
    if (ended) assert.deepEqual(ended, silently)
  })
  it('a pipe with a password', async (t) => {
    const ended = await withFive(t, ['./x.mjs', 'password=-5'], 'pipe', 'secret\n')
    if (ended) assert.deepEqual(ended, { ...silently, stdout: 'secret\n' })
  })
})

describe('a file of arguments that is a pipe, in the background,', together, () => {
  const served = async (t: TestContext, cwd: string, script: string) => {
    const args = [program, '-U', 's', '-P', 'pid', 'memory']
    const env = { PATH: process.env.PATH, TMPDIR: temporary }
    const child = spawn('/bin/sh', ['-c', script, process.execPath, ...args], { cwd, env })
    assert.deepEqual(await result(child), silently)
    t.after(() => stop(pidIn(cwd)))
    const client = await RawClient.connect({ path: join(cwd, 's') })
    assert.equal((await client.go()).size, 7 * 2 ** 20)
    client.stream.destroy()
    return readFileSync(`/proc/${pidIn(cwd)}/cmdline`, 'utf8')
  }
  it('is read, and stays out of the list of processes', async (t) => {
    if (!onLinux) return t.skip('on Linux only')
    assert.doesNotMatch(await served(t, newDirectory(), 'echo size=7M | "$0" "$@" @/dev/stdin'), /7M/)
  })
  it('is waited for where it is a FIFO', async (t) => {
    if (!onLinux) return t.skip('on Linux only')
    await served(t, newDirectory(), 'mkfifo f; { sleep 0.3; echo size=7M > f; } & "$0" "$@" @./f')
  })
  it('is a file without a / too where it is a FIFO', async (t) => {
    if (!onLinux) return t.skip('on Linux only')
    await served(t, newDirectory(), 'mkfifo f; { echo size=7M > f; } & "$0" "$@" @f')
  })
})

describe('messages of a server in the background', together, () => {
  /** Waits until clients are there, then says something. */
  const saying = plugin(`return { open, accept() { throw new Error('not you') } }`)
  const provoke = (cwd: string) => once(connect(join(cwd, 's')).resume(), 'close')

  it('go to a file', async (t) => {
    const log = join(newDirectory(), 'log')
    const { cwd } = await inBackground(t, [`--log=${log}`, './x.mjs'], { 'x.mjs': saying })
    await provoke(cwd)
    await until(() => readFileSync(log, 'utf8').includes('not you'))
    assert.match(readFileSync(log, 'utf8'), /^nbdkit-ts: client 1: error: .*not you \(x\.mjs:\d+\)\n$/)
  })
  it('go to standard error when they are to, which stays open', async () => {
    const cwd = newDirectory({ 'x.mjs': saying })
    const child = start(['--log=stderr', '-U', 's', '-P', 'pid', './x.mjs'], { cwd })
    const [status] = await once(child, 'exit')
    assert.equal(status, 0)
    const message = once(child.stderr ?? assert.fail(), 'data') as Promise<[Buffer]>
    await provoke(cwd)
    assert.match(String((await message)[0]), /^nbdkit-ts: client 1: error: .*not you \(x\.mjs:\d+\)\n$/)
    await stop(pidIn(cwd))
  })
  it('do not keep it from ending when a plugin throws where nobody catches it', async (t) => {
    const log = join(newDirectory(), 'log')
    const text = plugin(`return { open, accept() { setTimeout(() => null.x) } }`)
    const { cwd, pid } = await inBackground(t, [`--log=${log}`, './x.mjs'], { 'x.mjs': text })
    await provoke(cwd)
    await until(() => !isAlive(pid))
    assert.match(readFileSync(log, 'utf8'), /^nbdkit-ts: error: uncaught: TypeError: Cannot read/)
  })
  it('are discarded without koffi, which is told before', async (t) => {
    const hook = `import Module from 'node:module'
const load = Module._load
Module._load = (name, ...more) => {
  if (name === 'koffi') throw new Error('not here')
  return load(name, ...more)
}`
    const cwd = newDirectory({ 'hook.mjs': hook })
    const env = { NODE_OPTIONS: `--import=${join(cwd, 'hook.mjs')}` }
    const { status, stderr } = await run(['-U', 's', '-P', 'pid', 'null'], { cwd, env })
    t.after(() => stop(pidIn(cwd)))
    assert.match(
      stderr,
      /^nbdkit-ts: warning: messages will be discarded: .*"npm install koffi" \(not here\)\n$/,
    )
    assert.equal(status, 0)
    const refused = await run(['-f', '--log=syslog', '-U', '-', 'null'], { cwd, env })
    assert.match(
      refused.stderr,
      /^nbdkit-ts: the system log cannot be reached: .*"npm install koffi" \(not here\)\n$/,
    )
    assert.equal(refused.status, 1)
  })
})

describe('afterwards', () => {
  it('nothing is left where private sockets are made', () => assert.deepEqual(readdirSync(temporary), []))
})
