import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  type Libc,
  libc,
  loadLibc,
  POSIX_FADV_DONTNEED,
  whyNoLibc,
} from './libc.js'

const needsLibc = { skip: whyNoLibc() ?? false }

/** The C library and an empty file, both released after the test. */
function withFile(t: TestContext, parent = tmpdir()): { libc: Libc; fd: number } {
  const directory = mkdtempSync(join(parent, 'nbdkit-ts-libc-'))
  const fd = openSync(join(directory, 'file'), 'w+')
  t.after(() => {
    closeSync(fd)
    rmSync(directory, { recursive: true })
  })
  const library = libc()
  assert.ok(library, whyNoLibc())
  return { libc: library, fd }
}

/** False where the file system cannot tell what is cached, such as tmpfs. */
function tellsCached({ libc, fd }: { libc: Libc; fd: number }): boolean {
  try {
    libc.preadNoWait(fd, new Uint8Array(1), 0)
    return true
  } catch {
    return false
  }
}

test('preadNoWait fills the view it is given, and nothing beside it', needsLibc, (t) => {
  const { libc, fd } = withFile(t)
  if (!tellsCached({ libc, fd }))
    return t.skip('the file system of the temporary directory has no RWF_NOWAIT')
  writeSync(fd, 'abcdefghijklmnopqrstuvwxyz'.repeat(1000))
  // The engine keeps small arrays in its own heap, and moves them out when their address is taken.
  for (const whole of [Buffer.alloc(30), new Uint8Array(30), new Uint8Array(20000)]) {
    whole.fill(0x2e)
    assert.equal(libc.preadNoWait(fd, whole.subarray(3, 13), 26 + 2), 10)
    assert.equal(Buffer.from(whole.subarray(0, 16)).toString(), '...cdefghijkl...')
  }
})

test('preadNoWait returns less at the end of the file, and 0 after it', needsLibc, (t) => {
  const { libc, fd } = withFile(t)
  if (!tellsCached({ libc, fd }))
    return t.skip('the file system of the temporary directory has no RWF_NOWAIT')
  writeSync(fd, 'abc')
  assert.equal(libc.preadNoWait(fd, new Uint8Array(10), 1), 2)
  assert.equal(libc.preadNoWait(fd, new Uint8Array(10), 3), 0)
})

test('preadNoWait says when it would have to wait for the disk', needsLibc, async (t) => {
  const { libc, fd } = withFile(t)
  if (!tellsCached({ libc, fd }))
    return t.skip('the file system of the temporary directory has no RWF_NOWAIT')
  writeSync(fd, new Uint8Array(65536).fill(7))
  fdatasyncSync(fd)
  await libc.fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)
  const target = new Uint8Array(4096)
  // A disk in memory may have the data at once.
  const count = libc.preadNoWait(fd, target, 0)
  assert.ok(count === -1 || count === 4096, `returned ${count}`)
})

test('preadNoWait throws EOPNOTSUPP where the file system cannot tell what is cached', needsLibc, (t) => {
  if (!existsSync('/dev/shm')) return t.skip('there is no tmpfs at /dev/shm')
  const { libc, fd } = withFile(t, '/dev/shm')
  if (tellsCached({ libc, fd })) return t.skip('tmpfs has RWF_NOWAIT here')
  assert.throws(() => libc.preadNoWait(fd, new Uint8Array(1), 0), {
    code: 'EOPNOTSUPP',
    message: 'EOPNOTSUPP: operation not supported, preadv2',
  })
})

test('seekData and seekHole find what lies where in a sparse file', needsLibc, async (t) => {
  const { libc, fd } = withFile(t)
  ftruncateSync(fd, 2 ** 20)
  writeSync(fd, new Uint8Array(65536).fill(1), 0, 65536, 131072)
  assert.equal(libc.seekData(fd, 0), 131072)
  assert.equal(libc.seekHole(fd, 131072), 196608)
  assert.equal(libc.seekData(fd, 196608), undefined)
  assert.equal(libc.seekHole(fd, 2 ** 20), undefined)
  assert.equal(await libc.inThread.seekData(fd, 0), 131072)
  assert.equal(await libc.inThread.seekHole(fd, 131072), 196608)
  assert.equal(await libc.inThread.seekData(fd, 196608), undefined)
})

test('fallocate punches a hole', needsLibc, async (t) => {
  const { libc, fd } = withFile(t)
  writeSync(fd, new Uint8Array(262144).fill(1))
  await libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE + FALLOC_FL_KEEP_SIZE, 65536, 65536)
  assert.equal(libc.seekHole(fd, 0), 65536)
  assert.equal(libc.seekData(fd, 65536), 131072)
})

test('a failed call rejects or throws with the errno name, as those of Node do', needsLibc, async (t) => {
  const { libc, fd } = withFile(t)
  const bad = 2 ** 30
  await assert.rejects(libc.fallocate(bad, 0, 0, 1), {
    code: 'EBADF',
    message: 'EBADF: bad file descriptor, fallocate',
  })
  await assert.rejects(libc.fallocate(fd, 0, 0, 0), { code: 'EINVAL', syscall: 'fallocate', errno: -22 })
  await assert.rejects(libc.fadvise(bad, 0, 0, POSIX_FADV_DONTNEED), { code: 'EBADF' })
  await assert.rejects(libc.discard(fd, 0, 512), { code: 'ENOTTY' })
  assert.throws(() => libc.seekData(bad, 0), { code: 'EBADF' })
  await assert.rejects(libc.inThread.seekData(bad, 0), { code: 'EBADF', syscall: 'lseek' })
  await assert.rejects(libc.seekEnd(bad), { code: 'EBADF' })
  assert.throws(() => libc.preadNoWait(bad, new Uint8Array(1), 0), { code: 'EBADF' })
})

test('hundreds of calls may be under way at once, and each gets its own answer', needsLibc, async (t) => {
  const { libc, fd } = withFile(t)
  const calls = Array.from({ length: 600 }, (_, index) =>
    libc.fallocate(fd, 0, index % 3 === 0 ? -1 : index * 4096, 4096).then(
      () => 'done',
      (error: NodeJS.ErrnoException) => error.code,
    ),
  )
  const answers = await Promise.all(calls)
  assert.deepEqual(
    answers,
    answers.map((_, index) => (index % 3 === 0 ? 'EINVAL' : 'done')),
  )
})

test('peerCredentials tells who is at the other end of a Unix socket', needsLibc, async (t) => {
  const { libc, fd } = withFile(t)
  const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-libc-'))
  const server = createServer().listen(join(directory, 'socket'))
  t.after(() => {
    server.close()
    rmSync(directory, { recursive: true })
  })
  const client = connect(join(directory, 'socket'))
  const accepted = await new Promise<unknown>((resolve) => server.once('connection', resolve))
  const { _handle: handle } = accepted as { _handle: { fd: number } }
  assert.deepEqual(libc.peerCredentials(handle.fd), {
    pid: process.pid,
    uid: process.getuid?.(),
    gid: process.getgid?.(),
  })
  client.destroy()
  assert.equal(libc.peerCredentials(fd), undefined)
})

test(
  'duplicate gives another descriptor of the same file, which is closed on its own',
  needsLibc,
  async (t) => {
    const { libc, fd } = withFile(t)
    const copy = libc.duplicate(fd)
    assert.notEqual(copy, fd)
    writeSync(copy, 'text')
    assert.equal(await libc.seekEnd(fd), 4)
    closeSync(copy)
    assert.throws(() => libc.duplicate(copy), { code: 'EBADF' })
  },
)

test('setSendBuffer lets a socket take more, and refuses what is no socket', needsLibc, async (t) => {
  const { libc, fd } = withFile(t)
  assert.throws(() => libc.setSendBuffer(fd, 4096), { code: 'ENOTSOCK' })
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  libc.setSendBuffer((socket as unknown as { _handle: { fd: number } })._handle.fd, 100_000)
  assert.ok(socket.writable)
})

test('peerCredentials is undefined for a TCP socket', needsLibc, async (t) => {
  const { libc } = withFile(t)
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const client = connect(address.port, '127.0.0.1')
  const accepted = await new Promise<unknown>((resolve) => server.once('connection', resolve))
  assert.equal(libc.peerCredentials((accepted as { _handle: { fd: number } })._handle.fd), undefined)
  client.destroy()
})

test('without koffi there is no C library, and the reason names the package to install', () => {
  const missing = loadLibc(
    () => {
      throw new Error("Cannot find module 'koffi'\nRequire stack:\n- …")
    },
    'linux',
    'x64',
  )
  assert.deepEqual(missing, {
    why:
      'the C library is reached through the package koffi: install it with "npm install koffi" ' +
      "(Cannot find module 'koffi')",
  })
})

test('there is no C library on another platform, and the reason names it', () => {
  const load = () => assert.fail('koffi must not be loaded')
  assert.match(JSON.stringify(loadLibc(load, 'darwin', 'arm64')), /on Linux alone.*this is darwin on arm64/)
  assert.match(JSON.stringify(loadLibc(load, 'linux', 'arm')), /on x64, arm64, .*this is linux on arm"/)
})

test('a C library that cannot be opened is a reason that names what was tried', needsLibc, () => {
  const koffi = {
    load(name: string) {
      throw new Error(`no ${name}`)
    },
  }
  assert.deepEqual(
    loadLibc(() => koffi as never, 'linux', 'x64'),
    { why: 'no C library was found: no libc.so.6; no libc.musl-x86_64.so.1; no libc.so' },
  )
})
