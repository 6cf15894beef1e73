/** Nobody reads what is logged: the server serves all the same, and says later what was dropped. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { whyNoLibc } from '../src/os/libc.js'
import { NBD_CMD_READ } from '../src/protocol/constants.js'
import { RawClient } from '../src/testing/index.js'
import { newDirectory, start, started } from './cli-helpers.js'

const onLinux = process.platform === 'linux'
const skip = onLinux ? (whyNoLibc() ?? false) : 'it needs /proc'

/** A new FIFO. */
function fifo(): string {
  const path = join(newDirectory(), 'fifo')
  execFileSync('mkfifo', [path])
  return path
}

/** Its end for reading: nobody reads from there before the test does. */
function readingEnd(t: TestContext, path: string): number {
  const end = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  t.after(() => closeSync(end))
  return end
}

/** Reads until it comes upon this. */
async function readUntil(end: number, wanted: RegExp): Promise<string> {
  let text = ''
  const bytes = Buffer.alloc(65536)
  while (!wanted.test(text)) {
    try {
      text += bytes.toString('utf8', 0, readSync(end, bytes))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      await sleep(5)
    }
  }
  return text
}

/** Sends requests that are logged, each with its answer: far more than the places where lines wait hold. */
async function logMuch(path: string, count = 8000): Promise<void> {
  const client = await RawClient.connect({ path })
  await client.go()
  for (let sent = 0; sent < count; sent += 100) {
    for (let cookie = 1; cookie <= 100; cookie++)
      client.sendRequest({ type: NBD_CMD_READ, cookie, offset: 0, length: 512 })
    for (let cookie = 1; cookie <= 100; cookie++) await client.reply()
  }
  client.stream.destroy()
}

const failing = ['--filter=error', 'memory', '1M', 'error-rate=1']

describe('a server of which nobody reads', { skip, concurrency: 4 }, () => {
  it('standard error serves, tells how many lines it dropped, and ends', async (t) => {
    const path = fifo()
    const end = readingEnd(t, path)
    const write = openSync(path, 'w')
    const cwd = newDirectory()
    const stdio = ['ignore', 'pipe', write] as const
    const { child } = await startedIn(cwd, failing, [...stdio])
    closeSync(write)
    await logMuch(join(cwd, 's'))
    const text = await readUntil(end, /dropped/)
    assert.match(text, /^nbdkit-ts: \d+ lines were dropped: nobody has read what was written before$/m)
    assert.match(text, /^nbdkit-ts: client 1: error: .*EIO$/m)
    child.kill('SIGTERM')
    assert.deepEqual(await once(child, 'exit'), [0, null])
  })

  it('standard output and error serves, though its plugin prints and prints', async (t) => {
    const path = fifo()
    readingEnd(t, path)
    const write = openSync(path, 'w')
    const cwd = newDirectory({
      'talker.mjs': `import { definePlugin } from 'nbdkit-ts'
const text = 'x'.repeat(8192)
export default definePlugin({ name: 'talker', description: 'for tests', params: {}, setup: () => ({
  open: () => ({ size: 512, read(offset, length, alloc) {
    console.log(text); console.error(text); process.stdout.write(text); process.stderr.write(text)
    return alloc(length).fill(0)
  } }) }) })`,
    })
    const child = start(['-f', '-U', 's', './talker.mjs'], { cwd, stdio: ['ignore', write, write] })
    closeSync(write)
    await untilItListens(join(cwd, 's'))
    await logMuch(join(cwd, 's'), 200)
    child.kill('SIGTERM')
    assert.deepEqual(await once(child, 'exit'), [0, null])
  })

  it('a FIFO of --log= starts without a reader, serves and ends, with several threads too', async (t) => {
    for (const workers of [[], ['--workers=2']]) {
      const path = fifo()
      const cwd = newDirectory()
      const { child } = await startedIn(cwd, [`--log=${path}`, ...workers, ...failing])
      await logMuch(join(cwd, 's'))
      const reader = readingEnd(t, path)
      await readUntil(reader, /^nbdkit-ts: \d+ lines were dropped/m)
      child.kill('SIGTERM')
      assert.deepEqual(await once(child, 'exit'), [0, null])
    }
  })

  it('a FIFO of the log filter starts without a reader, serves and ends', async (t) => {
    const path = fifo()
    const cwd = newDirectory()
    const { child } = await startedIn(cwd, ['--filter=log', 'memory', '1M', `logfile=${path}`])
    await logMuch(join(cwd, 's'))
    const reader = readingEnd(t, path)
    await readUntil(reader, /^\S+ \S+ \d+ lines were dropped/m)
    child.kill('SIGTERM')
    assert.deepEqual(await once(child, 'exit'), [0, null])
  })
})

/** Serves on `s` in a directory. */
function startedIn(cwd: string, args: readonly string[], stdio?: ('ignore' | 'pipe' | number)[]) {
  return started(['-U', 's', ...args], stdio ? { cwd, stdio } : { cwd })
}

async function untilItListens(path: string): Promise<void> {
  for (;;) {
    const client = await RawClient.connect({ path }).catch(() => undefined)
    client?.stream.destroy()
    if (client) return
    await sleep(10)
  }
}
