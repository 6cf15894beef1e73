import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { libc, whyNoLibc } from './libc.js'
import { openOutlet, outletTo } from './outlet.js'

const onUnix = { skip: process.platform === 'win32' ? 'there is no such thing on Windows' : false }
const needsLibc = { skip: whyNoLibc() ?? false }
const onLinux = { skip: process.platform === 'linux' ? false : 'it needs /proc' }

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-outlet-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return directory
}

/** Writes until there is no room. Returns the number of bytes written. */
function fill(now: (bytes: Uint8Array, atLast: boolean) => number | undefined): number {
  const chunk = new Uint8Array(4096).fill(0x61)
  for (let bytes = 0; ; ) {
    const count = now(chunk, false)
    if (count === undefined) return bytes
    assert.ok(bytes < 2 ** 24, 'it takes everything')
    bytes += count
  }
}

test('an outlet to a file adds to its end, or begins anew', async (t) => {
  const path = join(temporary(t), 'log')
  writeFileSync(path, 'old\n')
  for (const [truncate, text] of [
    [false, 'old\nnew\n'],
    [true, 'new\n'],
  ] as const) {
    const outlet = await openOutlet(path, truncate)
    assert.equal(outlet.now(Buffer.from('new\n'), true), 4)
    assert.equal(readFileSync(path, 'utf8'), text)
    outlet.close()
  }
})

test('an outlet to a file writes on another thread, too', async (t) => {
  const path = join(temporary(t), 'log')
  const outlet = await openOutlet(path, true)
  await outlet.later?.(Buffer.from('text'))
  assert.equal(readFileSync(path, 'utf8'), 'text')
  outlet.close()
})

test('an outlet to a FIFO waits for no reader, and keeps what fits for the first', onUnix, async (t) => {
  const path = join(temporary(t), 'fifo')
  execFileSync('mkfifo', [path])
  const outlet = await openOutlet(path, true)
  assert.equal(outlet.now(Buffer.from('first\n'), false), 6)
  const fifo = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const bytes = Buffer.alloc(100)
  assert.equal(bytes.toString('utf8', 0, readSync(fifo, bytes)), 'first\n')
  assert.ok(fill(outlet.now) >= 4096)
  closeSync(fifo)
  outlet.close()
})

test('an outlet to what is not there, and to a socket, cannot be opened', onUnix, async (t) => {
  await assert.rejects(openOutlet(join(temporary(t), 'no', 'log'), false), { code: 'ENOENT' })
})

test('an outlet to a full pipe does not wait, though the pipe does', onLinux, async (t) => {
  const library = libc()
  if (!library) return t.skip(whyNoLibc())
  const [read, write] = library.pipe()
  const outlet = outletTo(write)
  const bytes = fill(outlet.now)
  assert.ok(bytes >= 4096, `${bytes}`)
  readSync(read, Buffer.alloc(8192))
  assert.equal(outlet.now(Buffer.from('more'), false), 4)
  outlet.close()
  closeSync(read)
  closeSync(write)
})

test('an outlet to a full socket does not wait', needsLibc, async (t) => {
  const { connect, createServer } = await import('node:net')
  const path = join(temporary(t), 'socket')
  const server = createServer({ pauseOnConnect: true }).listen(path)
  const accepted = new Promise<import('node:net').Socket>((resolve) => server.once('connection', resolve))
  const client = connect(path)
  const peer = await accepted
  const { _handle: handle } = client as unknown as { _handle: { fd: number } }
  const outlet = outletTo(handle.fd)
  assert.equal(outlet.later, undefined)
  assert.ok(fill(outlet.now) >= 4096)
  outlet.close()
  client.destroy()
  peer.destroy()
  server.close()
})

test('an outlet to a descriptor that is not open is refused', () => {
  assert.throws(() => outletTo(2 ** 30), { code: 'EBADF' })
})
