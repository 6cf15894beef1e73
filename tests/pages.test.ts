/** What the pages show: each command names what is here, in words that the program takes, and starts. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { describe, it } from 'node:test'
import type { FilterDefinition, PluginDefinition } from '../src/api/plugin.js'
import { configure } from '../src/chain/configure.js'
import { parseOptions } from '../src/cli/options/parse-options.js'
import { filters } from '../src/filters/catalog.js'
import { plugins } from '../src/plugins/catalog.js'
import { newDirectory, program, result, root, temporary } from './cli-helpers.js'

const pages = ['docs', 'src/plugins', 'src/filters']
  .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
  .filter(({ name }) => name.endsWith('.md'))
  .map(({ parentPath, name }) => relative(root, join(parentPath, name)))
  .sort()

interface Shown {
  readonly page: string
  readonly command: string
}

/** Commands in blocks of code, but not those of a synopsis, which are patterns. */
const shown: Shown[] = pages.flatMap((page) => {
  const text = readFileSync(join(root, page), 'utf8').replace(/^## Synopsis\n[\s\S]*?(?=^## )/m, '')
  const lines = text.replaceAll(/\\\n\s*/g, ' ').split('\n')
  const commands = lines.filter((line) => /^ {4}(npx )?nbdkit-ts [^:]/.test(line) && !line.includes('<<'))
  return commands.map((line) => ({ page, command: line.trim().replace('npx ', '') }))
})

/** The words that a shell makes of a command: it finds a program of that name which only tells them. */
function wordsOf(command: string): string[] {
  const bin = newDirectory({ 'nbdkit-ts': '#!/bin/sh\nprintf "%s\\0" "$@" > "$words"\nexit 1\n' })
  chmodSync(join(bin, 'nbdkit-ts'), 0o755)
  const words = join(bin, 'words')
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, words }
  spawnSync('/bin/sh', ['-c', command.replace(/ &$/, '')], { env, cwd: bin, stdio: 'ignore' })
  return readFileSync(words, 'utf8').split('\0').slice(0, -1)
}

const isOwn = (word: string) => /[./]/.test(word)

async function definitionOf<D>(catalog: typeof plugins | typeof filters, name: string): Promise<D> {
  assert.ok(Object.hasOwn(catalog, name), `there is no ${name}`)
  const module = (await catalog[name]?.()) as { readonly default: { readonly definition: D } }
  return module.default.definition
}

describe('a command that a page shows', { concurrency: 2 }, () => {
  it('is there on most pages', () =>
    assert.ok(shown.length > 60 && new Set(shown.map((one) => one.page)).size > 30))

  for (const { page, command } of shown)
    it(`is one that the program takes: ${command} (${page})`, async () => {
      const { settings, words } = parseOptions(wordsOf(command))
      const above: FilterDefinition[] = []
      for (const name of settings.filters) if (!isOwn(name)) above.push(await definitionOf(filters, name))
      const [plugin = '', ...parameters] = words
      if (isOwn(plugin) || settings.filters.some(isOwn)) return
      const { plugin: bottom, filters: layers } = configure(
        await definitionOf<PluginDefinition>(plugins, plugin),
        above,
        parameters,
      )
      for (const { definition, inputs } of [...layers, bottom])
        for (const [name, value] of Object.entries(inputs)) {
          const param = definition.params[name]
          if (typeof value === 'string' && param?.placeholder !== 'FD') param?.parse(value)
        }
    })
})

describe('a command that a page shows, for what comes with the program,', { concurrency: 2 }, () => {
  const inputs = newDirectory({ 'image.raw': 'x'.repeat(65536), one: '1', two: '2', 'extents.txt': '0 1M\n' })
  for (const image of ['disk.img', 'scratch.img']) {
    writeFileSync(join(inputs, image), '')
    truncateSync(join(inputs, image), 256 * 2 ** 20)
  }
  /** Those that say where they listen, or need what no directory of a test has. */
  const apart =
    /--run| -p | -U \S*\/|\/var\/lib|\/dev\/shm|1234|\.py|\.sh|\.so|9007199254740991|--dump|--version|--help/
  for (const { page, command } of shown.filter(({ command }) => !apart.test(command)))
    if (!isOwn(parseOptions(wordsOf(command)).words[0] ?? '.'))
      it(`starts: ${command} (${page})`, async () => {
        const line = command.replace(/^nbdkit-ts/, '"$program" -U - --run "echo started"').replace(/ &$/, '')
        const env = { PATH: process.env.PATH, TMPDIR: temporary, program }
        const { status, stdout, stderr } = await result(spawn('/bin/sh', ['-c', line], { cwd: inputs, env }))
        assert.deepEqual({ status, stdout }, { status: 0, stdout: 'started\n' }, stderr)
      })
})

/** nbdkit has these, too. */
const others =
  'S3 blkio cc cdi curl floppy gcs golang guestfs iso libvirt linuxdisk lua nbd nfs ocaml ondemand partitioning perl ' +
  'ruby rust sparse-random split ssh tcl tmpdisk torrent vddk vram ' +
  'blocksize blocksize-policy bzip2 cache checkwrite cow ddrescue evil exportname ext2 extentlist gzip indexed-gzip ip ' +
  'limit luks lzip openonce partition pause protect qcow2dec rate readahead retry retry-request rotational scan ' +
  'spinning stats swab tar tls-fallback truncate xor xz'

describe('a page of a plugin or filter', () => {
  for (const page of pages.filter((path) => path.startsWith('src/')))
    it(`names no other that is not here: ${page}`, () => {
      const [text = ''] = readFileSync(join(root, page), 'utf8').split('\n## Differences')
      const named = [...text.matchAll(/`?([\w-]+)`? (?:plugin|filter)s?\b/g)].map(([, name]) => name)
      const linked = [...text.matchAll(/\.\.\/([\w-]+)\/\1\.md/g)].map(([, name]) => name)
      const here = [...Object.keys(plugins), ...Object.keys(filters)]
      const missing = [...named, ...linked].filter(
        (name = '') => others.split(' ').includes(name) && !here.includes(name),
      )
      assert.deepEqual(missing, [])
    })
})

it('the functions that the page of native calls missing are those that its host does not have', () => {
  const host = join(root, 'src/plugins/native/host')
  const sources = readdirSync(host).map((name) => readFileSync(join(host, name), 'utf8'))
  const exported = new Set(sources.join('').match(/\bnbdkit_\w+(?=\s*\()/g))
  const [, sentence = ''] = /but for([\s\S]*?)cannot be loaded/.exec(
    readFileSync(join(root, 'src/plugins/native/native.md'), 'utf8'),
  ) ?? ['', '']
  const missing = sentence.match(/nbdkit_\w+/g) ?? []
  assert.ok(missing.length > 0)
  assert.deepEqual(
    missing.filter((name) => exported.has(name)),
    [],
  )
})
