/** What `npm start`, `npm test` and npm itself run. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { newDirectory, root } from './cli-helpers.js'

const { NODE_TEST_CONTEXT: _, ...env } = process.env
const script = (name: string) => join(root, 'scripts', name)
/** A checkout in which nothing was done yet. */
const fresh = () => {
  const directory = newDirectory({
    'package.json': '{ "type": "module" }',
    'src/x.ts': 'export const x: number = 1',
  })
  for (const part of ['scripts', 'bin']) cpSync(join(root, part), join(directory, part), { recursive: true })
  return directory
}

describe('npm start', () => {
  it('says to run npm ci where nothing is compiled', () => {
    const { status, stderr } = spawnSync(process.execPath, [join(fresh(), 'scripts', 'start.mjs')], {
      encoding: 'utf8',
    })
    assert.equal(stderr, 'nbdkit-ts is not compiled yet: run "npm ci" first, which also does that\n')
    assert.equal(status, 1)
  })
  it('gives hints that work as they are printed', async (t) => {
    for (const program of ['nbdinfo', 'nbdcopy', 'qemu-img'])
      if (spawnSync(program, ['--version']).error) return t.skip(`${program} is not installed`)
    const child = spawn(process.execPath, [script('start.mjs')], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env,
    })
    const hints: string[] = []
    for await (const line of createInterface({ input: child.stdout })) {
      if (/^ {4}[a-z-]+ /.test(line)) hints.push(line.trim())
      if (line.startsWith('Ctrl-C')) break
    }
    const cwd = newDirectory()
    assert.equal(hints.length, 5)
    for (const hint of hints) {
      const { status, stderr } = spawnSync('sh', ['-c', hint], { cwd, encoding: 'utf8' })
      assert.equal(status, 0, `${hint}: ${stderr}`)
    }
    child.kill('SIGTERM')
    assert.deepEqual(await once(child, 'exit'), [0, null])
  })
})

describe('npm run new', () => {
  const make = (directory: string, ...args: string[]) =>
    spawnSync(process.execPath, [join(directory, 'scripts', 'new.mjs'), ...args], { encoding: 'utf8' })

  for (const kind of ['plugin', 'filter'])
    it(`makes the three files of a ${kind}, under one name`, () => {
      const directory = fresh()
      assert.equal(make(directory, kind, 'two-words').status, 0)
      const folder = join(directory, 'src', `${kind}s`, 'two-words')
      const text = (file: string) => readFileSync(join(folder, file), 'utf8')
      assert.match(text('two-words.ts'), /name: 'two-words',/)
      assert.match(text('two-words.test.ts'), /import twoWords from '\.\/two-words\.js'/)
      assert.deepEqual(text('two-words.md').match(/^#+ .*$/gm), [
        ...['# two-words', '## Synopsis', '## Description', '## Parameters', '## Examples', '## Differences'],
        '## See also',
      ])
      const again = make(directory, kind, 'two-words')
      assert.deepEqual([again.status, again.stderr], [1, `npm run new: ${folder} exists already\n`])
    })

  it('says what to write', () => {
    const expected =
      'npm run new: expected "plugin NAME" or "filter NAME", as in: npm run new -- filter swab\n'
    for (const args of [[], ['filter'], ['module', 'x'], ['filter', 'x', 'y']])
      assert.equal(make(root, ...args).stderr, expected)
    assert.match(make(root, 'filter', 'Swab').stderr, /^npm run new: "Swab" cannot name a module: expected /)
  })
})

describe('npm test', () => {
  it('tells with each file how many are done', () => {
    const { stdout } = spawnSync(
      process.execPath,
      [script('test.mjs'), '--built', 'protocol/errno', 'protocol/bytes'],
      {
        encoding: 'utf8',
        env,
      },
    )
    assert.match(stdout, /^ok +1 of 2 .*\nok +2 of 2 /m)
  })
})

describe('what npm runs to prepare a checkout', () => {
  const prepare = (directory: string) =>
    spawnSync(process.execPath, [join(directory, 'scripts', 'prepare.mjs')], { encoding: 'utf8' })
  it('says to run npm ci where there is no compiler', () => {
    const { status, stderr } = prepare(fresh())
    assert.equal(stderr, 'nbdkit-ts is not compiled yet: run "npm ci" first, which also does that\n')
    assert.equal(status, 1)
  })
  it('compiles once, and again only where a source has changed', () => {
    const directory = fresh()
    mkdirSync(join(directory, 'src', 'cli'))
    cpSync(join(directory, 'src', 'x.ts'), join(directory, 'src', 'cli', 'main.ts'))
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'))
    cpSync(join(root, 'tsconfig.json'), join(directory, 'tsconfig.json'))
    assert.equal(prepare(directory).status, 0)
    spawnSync('rm', [join(directory, 'node_modules')])
    // Without a compiler: nothing is left to do.
    assert.equal(prepare(directory).status, 0)
    spawnSync('touch', ['-d', '+1 minute', join(directory, 'src', 'x.ts')])
    assert.equal(prepare(directory).status, 1)
  })
})
