/**
 * All tests: `npm test`. With words after `--`, runs only the test files with one of them in their path, and
 * no style check: `npm test -- plugins/memory interop/nbdcopy`. `--built` tests the existing compiled output.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { installClients } from './clients.mjs'
import { qemuWithExtendedHeaders } from './qemu-backports.mjs'
import { runTests } from './run-tests.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const inCi = process.env.CI === 'true'
const say = (message) => console.log(`# ${message}`)

const { values, positionals: patterns } = parseArgs({
  options: { built: { type: 'boolean', default: false } },
  allowPositionals: true,
})
process.exitCode = 1
const files = testFiles(patterns)
if (files.length === 0) say(`no file of tests has ${patterns.join(' or ')} in its path`)
else if (getClients() && (values.built || build())) await test(files)

async function test(files) {
  const start = performance.now()
  say(`${files.length} files of tests with Node ${process.version}`)
  const { passed, failures, skips } = await runTests(files, console.log)
  tellSkips(skips)
  for (const failure of failures) console.log(`FAILED ${failure}`)
  say(`${((performance.now() - start) / 1000).toFixed(0)} s`)
  console.log(`${passed} passed, ${failures.length} failed, ${skips.length} skipped`)
  if (failures.length === 0 && passed > 0) process.exitCode = 0
}

/** Reports skips, so that none goes unnoticed. */
function tellSkips(skips) {
  for (const reason of new Set(skips.map((skip) => skip.reason))) {
    const those = skips.filter((skip) => skip.reason === reason)
    console.log(`${those.length} skipped: ${reason}`)
    for (const { file, name } of those) console.log(`    ${file}: ${name}`)
  }
}

/**
 * Finds test files by their sources, so that outdated files in dist are not run. Tests with other programs
 * come first, because they take longest.
 */
function testFiles(patterns) {
  const folders = ['src', 'tests', 'examples', 'bench'].filter((folder) => existsSync(join(root, folder)))
  const sources = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter(({ name }) => name.endsWith('.test.ts'))
      .map(({ name, parentPath }) => relative(root, join(parentPath, name))),
  )
  const chosen = sources.filter(
    (name) => patterns.length === 0 || patterns.some((word) => name.includes(word)),
  )
  const isLong = (name) => name.startsWith('tests')
  return chosen
    .sort((a, b) => Number(isLong(b)) - Number(isLong(a)) || (a < b ? -1 : 1))
    .map((name) => ({ name, path: join(root, 'dist', name.replace(/\.ts$/, '.js')) }))
}

/**
 * Returns false where CI cannot go on. Elsewhere, tests that lack a program are skipped, each with its
 * reason.
 */
function getClients() {
  try {
    installClients(say)
    // tests/interop/helpers.ts looks for it here.
    process.env.QEMU_WITH_EXTENDED_HEADERS = qemuWithExtendedHeaders(say)
    return true
  } catch (error) {
    say(error.message)
    return !inCi
  }
}

/**
 * With patterns, somebody is working on the code: tests then also run on code that is not well formed yet.
 */
function build() {
  const [biome, tsc] = ['@biomejs/biome/bin/biome', 'typescript/bin/tsc']
  const isFormed = patterns.length > 0 || runTool(biome, 'check', '.')
  return isFormed && runTool(tsc, '-p', '.') && runScript('hover.mjs') && runScript('bundle.mjs')
}

function runScript(name) {
  return runNode(join(root, 'scripts', name))
}

function runTool(path, ...args) {
  return runNode(join(root, 'node_modules', path), ...args)
}

function runNode(...command) {
  const { status } = spawnSync(process.execPath, command, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (status !== 0) say(`${command.join(' ')} failed`)
  return status === 0
}
