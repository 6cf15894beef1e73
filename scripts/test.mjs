/**
 * All tests: `npm test`. With words after `--`, only the files of tests with one of them in their path, and
 * no check of style: `npm test -- plugins/memory interop/nbdcopy`. `--built` tests what is compiled already.
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

/** A skip must not pass unnoticed. */
function tellSkips(skips) {
  for (const reason of new Set(skips.map((skip) => skip.reason))) {
    const those = skips.filter((skip) => skip.reason === reason)
    console.log(`${those.length} skipped: ${reason}`)
    for (const { file, name } of those) console.log(`    ${file}: ${name}`)
  }
}

/**
 * Found by their sources, so that what is left in dist of a source that is gone is not run. Those with other
 * programs come first, as they take longest.
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

/** False where CI cannot go on. Elsewhere tests that miss a program are skipped, each with its reason. */
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

/** With patterns somebody is at work: what is not yet well formed may be tested all the same. */
function build() {
  const [biome, tsc] = ['@biomejs/biome/bin/biome', 'typescript/bin/tsc']
  return (patterns.length > 0 || runTool(biome, 'check', '.')) && runTool(tsc, '-p', '.')
}

function runTool(path, ...args) {
  const command = [join(root, 'node_modules', path), ...args]
  const { status } = spawnSync(process.execPath, command, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (status !== 0) say(`${[path, ...args].join(' ')} failed`)
  return status === 0
}
