import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { silentLog } from '../../api/log.js'
import { noServer } from '../../chain/setup.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import file from './file.js'

const onUnix = { skip: process.platform === 'win32' ? 'there is no such thing on Windows' : false }

/**
 * To root every file is writable, except for a process that has dropped this capability. Some builds of Node
 * cannot become another user (`process.seteuid`), and another user may not be able to read this package.
 */
const isRoot = process.geteuid?.() === 0
const unprivileged = isRoot ? ['setpriv', '--bounding-set=-dac_override'] : ['env']
const needsUnprivileged = {
  skip:
    isRoot && spawnSync('setpriv', ['--version']).status !== 0
      ? 'root may write every file, unless setpriv is there (Debian package util-linux)'
      : onUnix.skip,
}

/** A directory that is removed after the test. */
function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-file-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return directory
}

/** A file of `size` bytes `1`. */
function image(directory: string, name = 'disk.img', size = 4096): string {
  const path = join(directory, name)
  writeFileSync(path, Buffer.alloc(size, 1))
  return path
}

test('file serves a file, and keeps what is written to it', async (t) => {
  const path = image(temporary(t), 'disk.img', 100_001)
  const device = await openDevice(file({ file: path }))
  assert.equal(device.size, 100_001)
  assert.deepEqual([device.can.multiConn, device.can.fua, device.can.zero], [true, 'native', 'native'])
  await device.write(100_000, Buffer.from('x'), { fua: false })
  await deviceContract(device, { seed: 3 })
  const seen = await readBytes(device, 0, device.size)
  await device.close()
  assert.ok(readFileSync(path).equals(seen))
})

test('file reads the same with any cache, reduce-memory-pressure and fadvise', async (t) => {
  const path = image(temporary(t), 'disk.img', 65536)
  for (const hints of [
    { cache: 'none', fadvise: 'sequential' },
    { reduceMemoryPressure: true, fadvise: 'random' },
  ] as const) {
    const device = await openDevice(file({ file: path, ...hints }))
    await deviceContract(device)
    await device.close()
  }
})

test('file follows a symbolic link', async (t) => {
  const directory = temporary(t)
  symlinkSync(image(directory), join(directory, 'link'))
  const device = await openDevice(file({ file: join(directory, 'link') }))
  assert.equal(device.size, 4096)
  await device.close()
})

test('file refuses to start without a file', async (t) => {
  const directory = temporary(t)
  const missing = join(directory, 'missing.img')
  symlinkSync(missing, join(directory, 'link'))
  for (const path of [missing, join(directory, 'link')])
    await assert.rejects(openDevice(file({ file: path })), {
      name: 'ConfigError',
      message: `file: cannot serve ${path}: ENOENT: no such file or directory, realpath '${path}'`,
    })
})

test('file refuses a directory, and says how to serve it', async (t) => {
  const directory = temporary(t)
  await assert.rejects(openDevice(file({ file: directory })), {
    name: 'ConfigError',
    message: `file: ${directory} is a directory: use dir=${directory} to serve the files in it`,
  })
})

test(
  'file refuses what is neither a file nor a block device, without waiting for a pipe',
  onUnix,
  async (t) => {
    const pipe = join(temporary(t), 'pipe')
    execFileSync('mkfifo', [pipe])
    for (const path of [pipe, '/dev/null'])
      await assert.rejects(openDevice(file({ file: path })), {
        name: 'ConfigError',
        message: `file: ${path} cannot be served: it is neither a regular file nor a block device`,
      })
  },
)

test('file needs one of file, dir, fd and dirfd, and takes one alone', async () => {
  await assert.rejects(openDevice(file()), {
    name: 'ConfigError',
    message: 'file: nothing to serve: give file=FILENAME, dir=DIRECTORY, fd=N or dirfd=N',
  })
  await assert.rejects(openDevice(file({ file: 'disk.img', dir: '.' })), {
    name: 'ConfigError',
    message: 'file: file=, dir= cannot be used together: give one of them',
  })
})

test('file is read-only when the server or a filter asks for it', async (t) => {
  const device = await openDevice(file({ file: image(temporary(t)) }), [], { readOnly: true })
  assert.deepEqual([device.can.write, device.can.trim, device.can.zero], [false, false, 'none'])
  assert.throws(() => device.write(0, Buffer.alloc(1), { fua: false }), { code: 'EPERM' })
  assert.equal((await readBytes(device, 4095, 1))[0], 1)
  await device.close()
})

test('file serves what may not be written read-only', needsUnprivileged, async (t) => {
  const path = image(temporary(t))
  chmodSync(path, 0o444)
  const [device, testing] = ['./file.js', '../../testing/index.js'].map(
    (name) => new URL(name, import.meta.url),
  )
  const script = `
    import file from '${device}'
    import { openDevice, readBytes } from '${testing}'
    const device = await openDevice(file({ file: process.argv[1] }))
    console.log(device.can.write, (await readBytes(device, 0, 1))[0])
    await device.close()`
  const [program = '', ...args] = unprivileged
  args.push(process.execPath, '--input-type=module', '--eval', script, path)
  assert.equal(execFileSync(program, args, { encoding: 'utf8' }), 'false 1\n')
})

test('file tells a client that the file is gone, and not where it was', async (t) => {
  const directory = temporary(t)
  const path = image(directory)
  const values = {
    file: path,
    dir: undefined,
    fd: undefined,
    dirfd: undefined,
    cache: 'default',
    reduceMemoryPressure: false,
    fadvise: 'normal',
  } as const
  const context = { ...noServer, log: silentLog }
  const instance = await file.definition.setup(values, context)
  rmSync(path)
  await assert.rejects(async () => instance.open({ readOnly: false } as never), {
    code: 'EIO',
    message: 'the file: there is no such file',
  })
})

test('fd serves an open file, as writable as it is open, and does not close it', onUnix, async (t) => {
  const path = image(temporary(t), 'disk.img', 65536)
  for (const [flags, writable] of [
    ['r+', true],
    ['r', false],
  ] as const) {
    const fd = openSync(path, flags)
    t.after(() => closeSync(fd))
    const device = await openDevice(file({ fd }))
    assert.equal(device.can.write, writable)
    await deviceContract(device)
    await device.close()
    assert.equal(fstatSync(fd).size, 65536)
  }
})

test('fd refuses a descriptor that is closed, is no file, or cannot be read', onUnix, async (t) => {
  const directory = temporary(t)
  const cases = [
    [openSync(directory, 'r'), 'cannot be served: it is neither a regular file nor a block device'],
    [openSync(image(directory), 'a'), 'cannot be served: it is open for writing alone'],
  ] as const
  for (const [fd, reason] of cases) {
    t.after(() => closeSync(fd))
    await assert.rejects(openDevice(file({ fd })), {
      name: 'ConfigError',
      message: `file: fd=${fd} ${reason}`,
    })
  }
  await assert.rejects(openDevice(file({ fd: 2 ** 30 })), /fd=1073741824 is no open file descriptor: EBADF/)
  await assert.rejects(openDevice(file({ fd: 0 })), /file: fd: 0 is out of range/)
})
