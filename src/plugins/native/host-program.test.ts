import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, test } from 'node:test'
import { compileHost, hostProgram } from './host-program.js'

const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-host-'))
process.once('exit', () => rmSync(directory, { recursive: true, force: true }))

const { CC } = process.env
afterEach(() => {
  if (CC === undefined) delete process.env.CC
  else process.env.CC = CC
})

/** With this as the compiler, as a user names it. */
function compileWith(compiler: string): Promise<string> {
  process.env.CC = compiler
  return compileHost(join(directory, 'cache'))
}

const skip = existsSync('/usr/bin/cc') || process.env.CI === 'true' ? false : 'needs cc (Debian: gcc)'

test('native compiles its host without a warning, and by two at the same time', { skip }, async () => {
  const flags = 'cc -Wall -Wextra -Werror'
  const [one, two] = await Promise.all([compileWith(flags), compileWith(flags)])
  assert.equal(one, two)
  assert.deepEqual(readdirSync(join(directory, 'cache')).length, 1)
  // Nobody has started it so.
  assert.throws(
    () => execFileSync(one, { stdio: 'pipe' }),
    /a server starts it, with a socket that NBDKIT_TS_FD names/,
  )
})

test('native says in a line that there is no compiler', async () => {
  await assert.rejects(compileWith('/nowhere/cc'), {
    name: 'ConfigError',
    message: /cannot be built: there is no C compiler "\/nowhere\/cc": install one .*, or name it in CC$/,
  })
})

test('native says in a line why its compiler failed', async () => {
  const script = join(directory, 'cc')
  writeFileSync(script, '#!/bin/sh\necho "stdio.h is missing" >&2\necho more >&2\nexit 1\n', { mode: 0o755 })
  await assert.rejects(compileWith(script), { name: 'ConfigError', message: /failed: stdio.h is missing$/ })
  await assert.rejects(compileWith('/bin/false'), { message: /failed: it ended with status 1$/ })
})

test('native says that it is of no use on other systems', async () => {
  await assert.rejects(hostProgram('darwin'), {
    name: 'ConfigError',
    message: 'native: plugins can be loaded on Linux alone: this is darwin',
  })
})

test('native says where it cannot keep its host', async () => {
  const file = join(directory, 'file')
  writeFileSync(file, '')
  await assert.rejects(compileHost(file), {
    name: 'ConfigError',
    message: /EEXIST.*name another in XDG_CACHE_HOME/,
  })
})
