/** The examples of the pages that a newcomer reads first: each one runs here, and so does each command. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe, it, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import type { Extent } from '../../src/index.js'
import { needs } from '../interop/helpers.js'
import { nbdkitPlugin, packageRoot } from '../programs.js'
import { examplesOf, newProject, nodes, run, runsTypeScript, serve, unpacked } from './project.js'

const page = (name: string) => readFileSync(join(unpacked, name), 'utf8')
const pages = [
  'README',
  'docs/writing-a-plugin',
  'docs/writing-a-filter',
  'docs/fast-modules',
  'docs/embedding',
  'docs/languages',
]

interface Example {
  readonly page: string
  readonly code: string
  /** Of the layer that it defines. */
  readonly layer?: { readonly kind: 'Plugin' | 'Filter'; readonly name: string } | undefined
}

const typed = pages.flatMap((name) => examplesOf(page(`${name}.md`)).map((code) => exampleOf(name, code)))

function exampleOf(page: string, code: string): Example {
  const [, kind] = /^export default define(Plugin|Filter)\(/m.exec(code) ?? []
  const [, name = ''] = /^ {2}name: '(.*)'/m.exec(code) ?? []
  return { page, code, layer: kind === 'Plugin' || kind === 'Filter' ? { kind, name } : undefined }
}

/** The one example of a page that is no layer and has these words in it. */
function fragment(name: string, words: string): string {
  const found = typed.filter(({ page, code, layer }) => page === name && !layer && code.includes(words))
  assert.equal(found.length, 1, `${found.length} examples of ${name} have ${words}`)
  return found[0]?.code ?? ''
}

/** What a layer of the pages must be given. */
const words: Readonly<Record<string, string>> = { blank: '64K', together: '64K', 'my-offset': 'offset=4K' }

/** A project with an example in it, `npx` of which runs what is installed. */
function projectWith(files: Record<string, string>): string {
  const project = newProject('commonjs', files, ['jiti', 'typescript', '@types/node'])
  const bin = join(project, 'node_modules', '.bin')
  mkdirSync(bin)
  symlinkSync('../nbdkit-ts/bin/nbdkit-ts', join(bin, 'nbdkit-ts'))
  symlinkSync('../jiti/lib/jiti-cli.mjs', join(bin, 'jiti'))
  symlinkSync(join(unpacked, 'examples'), join(project, 'examples'))
  return project
}

/** As a shell of the user does it, in no test. The module of nbdsh belongs to the system's own Python. */
const shell = (command: string, project: string) =>
  run(
    'env',
    [
      '-u',
      'NODE_TEST_CONTEXT',
      `PATH=${['node_modules/.bin', '/usr/bin', process.env.PATH].join(delimiter)}`,
      'sh',
      '-c',
      command,
    ],
    project,
  )

describe('each plugin and filter of the pages', { concurrency: 2 }, () => {
  const layers = typed.flatMap(({ page, code, layer }) => (layer ? [{ page, code, ...layer }] : []))

  for (const { page, code, kind, name } of layers)
    it(`is served: ${name} of ${page}`, needs('nbdinfo'), async () => {
      const project = projectWith({ [`${name}.ts`]: code })
      const served = kind === 'Plugin' ? [`./${name}.ts`] : [`--filter=./${name}.ts`, 'memory', '64K']
      const layers = [...served, ...(words[name] === undefined ? [] : [words[name]])]
      const client = 'nbdinfo --size "$uri"'
      const { status, stdout, stderr } = await serve(process.execPath, project, layers, client)
      assert.match(stdout, /^[1-9]\d+\n$/, stderr)
      assert.equal(status, 0)
    })
})

/** The page says which ones run TypeScript. */
const nodeForTypeScript = nodes.find(({ version }) => runsTypeScript(version))?.path

/** Commands stand alone on lines that are set in. Those with an ellipsis stand for others. */
const commands = pages.flatMap((name) =>
  [...page(`${name}.md`).matchAll(/^ {4}((?:npx|node|npm|nbdkit-ts) .*)$/gm)]
    .map(([, command = '']) => ({ page: name, command }))
    .filter(({ command }) => !/^npm (ci|install)|^node server\.mjs|^nbdkit-ts \[options\]/.test(command)),
)

describe('each command of the pages', { concurrency: 2 }, () => {
  test('is found here: they are a dozen', () => assert.ok(commands.length >= 10, String(commands.length)))

  for (const { page: name, command } of commands)
    it(`runs: ${command} (${name})`, forCommand(command), async () => {
      const here = typed.filter((example) => example.page === name && example.layer)
      const files = here.map(({ code, layer }) => [`${layer?.name}.ts`, code] as const)
      const project = projectWith({ ...Object.fromEntries(files), ...testOfPlugin() })
      const { status, stdout, stderr } = await shell(alike(command), project)
      assert.equal(status, 0, `${stdout}\n${stderr}`)
      assert.doesNotMatch(stderr, /^nbdkit-ts: /m)
    })
})

function forCommand(command: string): { skip: string | false } {
  if (command.startsWith('node --test') && nodeForTypeScript === undefined)
    return { skip: `Node ${process.version} does not run TypeScript, and "npm ci" in ci/ was not run` }
  if (command.includes('.so ') && !existsSync(nbdkitPlugin('memory'))) return needs('nbdkit')
  return needs(command.includes('nbdsh') ? 'nbdsh' : 'nbdinfo')
}

/** The same here: the folder of nbdkit's plugins is another one on another machine. */
function alike(command: string): string {
  const native = command.replace(/\/usr\/lib\/\S*-memory-plugin\.so/, nbdkitPlugin('memory'))
  if (command.startsWith('node '))
    return `npm pkg set type=module && ${command.replace('node', nodeForTypeScript ?? 'node')}`
  // One of them with npx itself, which takes longer than all the rest.
  return command === commands[0]?.command ? native : native.replace(/^npx /, '')
}

function testOfPlugin(): Record<string, string> {
  return { 'my-disk.test.ts': fragment('docs/writing-a-plugin', "from 'node:test'") }
}

describe('the test of a plugin', () => {
  it('fails by its command where the plugin is wrong', async () => {
    const wrong = typed.find(
      ({ page, layer }) => page.endsWith('writing-a-plugin') && layer?.name === 'my-disk',
    )
    const plugin = (wrong?.code ?? '').replace('offset + index', 'offset')
    const project = projectWith({ 'my-disk.ts': plugin, ...testOfPlugin() })
    const { status, stdout } = await shell('npx jiti my-disk.test.ts', project)
    assert.match(stdout, /not ok .*my-disk holds its addresses|✖ my-disk holds its addresses/)
    assert.equal(status, 1)
  })
})

describe('a program with a server inside', () => {
  for (const name of ['README', 'docs/embedding'])
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      it(`serves clients until ${signal}, then ends: server.mjs of ${name}`, needs('nbdinfo'), async () => {
        assert.match(page(`${name}.md`), /^ {4}node server\.mjs$/m)
        const [code = '', ...more] = examplesOf(page(`${name}.md`), 'js')
        assert.deepEqual(more, [])
        const project = projectWith({ 'server.mjs': code })
        const server = spawn(process.execPath, ['server.mjs'], {
          cwd: project,
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        const ended = once(server, 'exit')
        const { stdout, stderr } = await run('nbdinfo', ['--size', await firstLine(server)], project)
        assert.match(stdout, /^\d{10}\n$/, stderr)
        server.kill(signal)
        assert.deepEqual(await ended, [0, null])
      })

  for (const [what, name, printed] of [
    ['for one block, and a client', 'block', /^67108864\n$/],
    ['and a client on a pair of sockets', 'sockets', /^1073741824\n$/],
  ] as const)
    it(`runs as it is compiled: ${what}`, needs('nbdsh', 'nbdinfo'), async () => {
      const command = `${process.execPath} ${name}.mjs`
      const { status, stdout, stderr } = await shell(command, await projectWithFragments())
      assert.match(stdout, printed, stderr)
      assert.equal(status, 0)
    })
})

async function firstLine({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error('it has no output')
  const [line] = (await once(stdout, 'data')) as [Buffer]
  return String(line).trim()
}

/** What is no layer and no test of one, by words that stand in it: each is a file that Node can run. */
const fragments = {
  block: fragment('docs/embedding', 'await tell('),
  sockets: fragment('docs/embedding', 'stdio[3]'),
  log: fragment('docs/embedding', 'consoleLog'),
  quota: fragment('docs/writing-a-plugin', 'ENOSPC'),
  extents: fragment('docs/writing-a-plugin', '* extents('),
}

let compiled: Promise<string> | undefined

/** Compiles all of them once, with checks: what a page shows has the types that it shows. */
function projectWithFragments(): Promise<string> {
  compiled ??= (async () => {
    const files = Object.entries(fragments).map(([name, code]) => [`${name}.mts`, code] as const)
    const project = projectWith(Object.fromEntries(files))
    const tsc = join(packageRoot, 'node_modules', 'typescript', 'bin', 'tsc')
    const options = '--strict --types node --target ES2022 --lib ES2023,ESNext.Disposable --module NodeNext'
    const args = [tsc, ...options.split(' '), ...files.map(([name]) => name)]
    const { status, stdout } = await run(process.execPath, args, project)
    assert.equal(status, 0, stdout)
    return project
  })()
  return compiled
}

async function load<T>(name: keyof typeof fragments): Promise<T> {
  return import(pathToFileURL(join(await projectWithFragments(), `${name}.mjs`)).href)
}

describe('what a page shows of a plugin', () => {
  it('fails a write beyond its quota', async () => {
    const { write } = await load<{ write(offset: number, data: Uint8Array): void }>('quota')
    write(0, new Uint8Array(1))
    assert.throws(() => write(2 ** 20, new Uint8Array(1)), {
      code: 'ENOSPC',
      message: /the quota of 1048576 bytes/,
    })
  })

  it('tells data up to 1 MiB and a hole behind it', async () => {
    const { extents } = await load<{ extents(offset: number, length: number): Iterable<Extent> }>('extents')
    const mib = 2 ** 20
    assert.deepEqual(
      [...extents(mib - 10, 30)],
      [
        { length: 10, type: 0 },
        { length: 20, type: 3 },
      ],
    )
    assert.deepEqual([...extents(mib, 5)], [{ length: 5, type: 3 }])
  })
})

test('no example of these pages is left out', () => {
  const ran = [...Object.values(fragments), ...Object.values(testOfPlugin())]
  assert.deepEqual(
    typed.filter(({ code, layer }) => !layer && !ran.includes(code)),
    [],
  )
})
