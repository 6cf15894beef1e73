import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, test } from 'node:test'
import { keptLog } from '../../testing/connect.js'
import { compileHost, hostProgram } from './host-program.js'

const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-host-'))
process.once('exit', () => rmSync(directory, { recursive: true, force: true }))

const { CC, XDG_CACHE_HOME } = process.env
afterEach(() => {
  if (CC === undefined) delete process.env.CC
  else process.env.CC = CC
})

/** Compiles with this compiler, given the way a user does. */
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
  // The program was not started by a server.
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

test('native says that it cannot make a directory for its host', async () => {
  const file = join(directory, 'file')
  writeFileSync(file, '')
  for (const bad of [file, join(file, 'below'), '/proc/nowhere/below'])
    await assert.rejects(compileHost(bad), { name: 'ConfigError', message: /EEXIST|ENOTDIR|ENOENT/ }, bad)
})

test('native compiles its host for this process alone where nothing can be kept, and says so', {
  skip,
}, async (t) => {
  // No such directory can be made there: Node's mkdir with `recursive` would try for ever.
  t.after(() => {
    if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME
    else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME
  })
  for (const cache of ['/proc/nowhere', join(directory, 'no-directory', 'below')]) {
    writeFileSync(join(directory, 'no-directory'), '')
    process.env.XDG_CACHE_HOME = cache
    const { log, errors } = keptLog()
    const program = await hostProgram('linux', log)
    assert.ok(existsSync(program) && !program.startsWith(cache))
    // The program is compiled once, so the message appears once.
    if (cache === '/proc/nowhere')
      assert.match(errors.join('\n'), /cannot be kept: ENOENT.*name another directory in XDG_CACHE_HOME/)
    else assert.deepEqual(errors, [])
  }
})
