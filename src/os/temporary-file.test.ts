import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, test } from 'node:test'
import { openTemporaryFile } from './temporary-file.js'

const { TMPDIR } = process.env
afterEach(() => {
  if (TMPDIR === undefined) delete process.env.TMPDIR
  else process.env.TMPDIR = TMPDIR
})

test('a temporary file has no name, and holds what is written', () => {
  const directory = mkdtempSync(join(tmpdir(), 'temporary-file-'))
  process.env.TMPDIR = directory
  const fd = openTemporaryFile()
  assert.deepEqual(readdirSync(directory), [])
  writeSync(fd, 'kept', 1000)
  const bytes = Buffer.alloc(5)
  assert.equal(readSync(fd, bytes, 0, 5, 999), 5)
  assert.equal(bytes.toString(), '\0kept')
  closeSync(fd)
  rmSync(directory, { recursive: true })
})

test('a temporary file that cannot be made names its directory', () => {
  process.env.TMPDIR = '/nowhere'
  assert.throws(() => openTemporaryFile(), {
    name: 'ConfigError',
    message: /^no temporary file can be made in \/nowhere: ENOENT.*: set TMPDIR$/,
  })
})
