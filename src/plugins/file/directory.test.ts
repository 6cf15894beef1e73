import assert from 'node:assert/strict'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { openDevice } from '../../testing/index.js'
import { DirectoryList, listFiles } from './directory.js'
import file from './file.js'

const onUnix = { skip: process.platform === 'win32' ? 'there is no such thing on Windows' : false }
const onLinux = { skip: process.platform === 'linux' ? false : 'it needs /proc' }

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

/** Files `b` and `a`, a link to each kind of file, a directory, and a socket. */
async function mixed(t: TestContext): Promise<string> {
  const directory = temporary(t)
  image(directory, 'b', 200)
  image(directory, 'a', 100)
  mkdirSync(join(directory, 'folder'))
  symlinkSync('b', join(directory, 'link'))
  symlinkSync('nothing', join(directory, 'dangling'))
  symlinkSync('folder', join(directory, 'folder-link'))
  const server = createServer().listen(join(directory, 'socket'))
  await new Promise((resolve) => server.once('listening', resolve))
  t.after(() => server.close())
  return directory
}

test('dir lists files and links to files, sorted by name', onUnix, async (t) => {
  assert.deepEqual(await listFiles(await mixed(t)), [{ name: 'a' }, { name: 'b' }, { name: 'link' }])
})

test('a name that is not UTF-8 is not listed, and spoils nothing', onLinux, async (t) => {
  const directory = temporary(t)
  for (const name of ['a', 'z']) image(directory, name)
  const bad = (bytes: number[]) => Buffer.concat([Buffer.from(`${directory}/bad`), Buffer.of(...bytes)])
  for (const bytes of [[0xff], [0xc3, 0x28], [0xed, 0xa0, 0x80]]) writeFileSync(bad(bytes), '')
  assert.deepEqual(await listFiles(directory), [{ name: 'a' }, { name: 'z' }])
  // The replacement character may itself be part of a name.
  image(directory, 'bad\ufffd')
  assert.deepEqual(await listFiles(directory), [{ name: 'a' }, { name: 'bad\ufffd' }, { name: 'z' }])
})

test('the first 10,000 names of a directory are listed, whatever the order in which they are found', async (t) => {
  const directory = temporary(t)
  const names = Array.from({ length: 10_010 }, (_, index) => `${index}`.padStart(5, '0'))
  for (const name of names) writeFileSync(join(directory, name), '')
  const listed = (await listFiles(directory)).map(({ name }) => name)
  assert.deepEqual(listed, names.slice(0, 10_000))
})

test('clients that ask at the same time share a list, which is not older than what they asked', async (t) => {
  const directory = temporary(t)
  const list = new DirectoryList(directory)
  const first = list.read()
  // The first list has started.
  await Promise.resolve()
  await Promise.resolve()
  image(directory, 'new')
  const [one, two] = [list.read(), list.read()]
  assert.equal(one, two)
  await first
  assert.deepEqual(await two, [{ name: 'new' }])
  assert.notEqual(list.read(), two)
})

test('others are let in while a large directory is listed', async (t) => {
  const directory = temporary(t)
  for (let number = 0; number < 2500; number++) writeFileSync(join(directory, `disk-${number}`), '')
  let turns = 0
  const count = () => {
    turns++
    next = setImmediate(count)
  }
  let next = setImmediate(count)
  const names = (await listFiles(directory)).map(({ name }) => name)
  assert.equal(names.length, 2500)
  assert.deepEqual(names, [...names].sort())
  clearImmediate(next)
  // At least one turn for each few hundred entries.
  assert.ok(turns >= 7, `${turns}`)
})

test('a directory that is gone cannot be listed, and its path is not told', async (t) => {
  await assert.rejects(listFiles(join(temporary(t), 'missing')), {
    code: 'EIO',
    message: 'the directory cannot be listed: ENOENT',
  })
})

test('dir serves the file that a client names', onUnix, async (t) => {
  const dir = await mixed(t)
  for (const [exportName, size] of [
    ['a', 100],
    ['link', 200],
  ] as const) {
    const device = await openDevice(file({ dir }), [], { exportName })
    assert.equal(device.size, size)
    await device.close()
  }
})

test('dir refuses every name that is not that of a file in it', onUnix, async (t) => {
  const dir = await mixed(t)
  for (const [exportName, message] of [
    ['', 'there is no default export: ask for a file by its name'],
    ['.', 'export name "." is not the name of a file'],
    ['..', 'export name ".." is not the name of a file'],
    ['../b', 'export name "../b" is not the name of a file'],
    ['/etc/passwd', 'export name "/etc/passwd" is not the name of a file'],
    ['a\0', 'export name "a\\u0000" is not the name of a file'],
    ['none', 'export "none": there is no such file'],
    ['dangling', 'export "dangling": there is no such file'],
    ['folder', 'export "folder": cannot be served: it is neither a regular file nor a block device'],
    [
      'folder-link',
      'export "folder-link": cannot be served: it is neither a regular file nor a block device',
    ],
    ['socket', 'export "socket": cannot be served: it is neither a regular file nor a block device'],
  ] as const)
    await assert.rejects(openDevice(file({ dir }), [], { exportName }), { name: 'NbdError', message })
})

test('dir refuses to start without a directory', async (t) => {
  const directory = temporary(t)
  const path = image(directory)
  await assert.rejects(openDevice(file({ dir: path })), {
    name: 'ConfigError',
    message: `file: dir=${path} is not a directory: use file=${path} to serve a file`,
  })
  await assert.rejects(
    openDevice(file({ dir: join(directory, 'missing') })),
    /cannot serve .*missing: ENOENT/,
  )
})

test('dirfd serves the files of an open directory', onLinux, async (t) => {
  const directory = temporary(t)
  const path = image(directory)
  const dirfd = openSync(directory, 'r')
  const fd = openSync(path, 'r')
  t.after(() => {
    closeSync(dirfd)
    closeSync(fd)
  })
  const device = await openDevice(file({ dirfd }), [], { exportName: 'disk.img' })
  assert.equal(device.size, 4096)
  await device.close()
  await assert.rejects(openDevice(file({ dirfd: fd })), {
    name: 'ConfigError',
    message: `file: dirfd=${fd} is not a directory`,
  })
})
