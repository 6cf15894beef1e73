/** What is in the package, as it is published. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, it, test } from 'node:test'
import { filters } from '../../src/filters/catalog.js'
import { plugins } from '../../src/plugins/catalog.js'
import { packageRoot } from '../programs.js'
import { examplesOf, newProject, run, unpacked } from './project.js'

const files = readdirSync(unpacked, { recursive: true, encoding: 'utf8' })
const pages = files.filter((path) => path.endsWith('.md'))
const manifest = JSON.parse(readFileSync(join(unpacked, 'package.json'), 'utf8'))

test('every relative link of every page in the package leads to a file or folder in the package', () => {
  assert.ok(pages.includes('README.md') && pages.includes('docs/README.md') && pages.length > 50)
  const broken = pages.flatMap((page) => {
    const targets = linksOf(readFileSync(join(unpacked, page), 'utf8'))
    const lost = targets.filter((to) => !existsSync(join(unpacked, dirname(page), decodeURI(to))))
    return lost.map((to) => `${page}: ${to}`)
  })
  assert.deepEqual(broken, [])
})

/** Those of Markdown, of pictures too, and of the HTML that a page may hold. */
function linksOf(text: string): string[] {
  const prose = text.replaceAll(/^```[\s\S]*?^```|^ {4}.*$|`[^`\n]*`/gm, '')
  const found = [...prose.matchAll(/\]\(([^)\s#]+)[^)]*\)|\b(?:src|href|srcset)="([^"#]+)"/g)]
  return found.map(([, markdown, html]) => markdown ?? html ?? '').filter((to) => !/^[a-z]+:/.test(to))
}

test('the package holds no tests, no sources of the benchmark and nothing that is compiled from them', () => {
  assert.deepEqual(
    files.filter((path) => /\.test\.|^(dist\/)?(tests|bench)\b|__pycache__/.test(path)),
    [],
  )
})

test('the package has the page, the source, the program and the types of every plugin and filter', () => {
  const modules = [
    ...Object.keys(plugins).map((name) => `plugins/${name}/${name}`),
    ...Object.keys(filters).map((name) => `filters/${name}/${name}`),
  ]
  const wanted = modules.flatMap((path) => [
    `src/${path}.md`,
    `src/${path}.ts`,
    `dist/package/${path}.js`,
    `dist/src/${path}.d.ts`,
  ])
  assert.deepEqual(
    wanted.filter((path) => !files.includes(path)),
    [],
  )
})

describe('package.json', () => {
  it('has the fields that people look for', () => {
    const wanted = 'name version description keywords license author engines bin files main types exports'
    const missing = wanted.split(' ').filter((field) => manifest[field] === undefined)
    assert.deepEqual(missing, [])
    assert.ok(Array.isArray(manifest.keywords) && manifest.keywords.includes('nbd'))
  })

  it('names no host that is made up: a field with an address is there when the address is', () => {
    for (const field of ['repository', 'homepage', 'bugs'])
      assert.doesNotMatch(JSON.stringify(manifest[field] ?? ''), /example|localhost|TODO/i)
  })

  it('says the same to resolvers that know exports and to those that do not', () => {
    assert.equal(manifest.main, manifest.exports['.'].default)
    assert.equal(manifest.types, manifest.exports['.'].types)
  })

  it('marks as free of side effects all but the program, whose files run when they are loaded', () => {
    assert.deepEqual(manifest.sideEffects, ['./dist/package/cli/**/*.js'])
  })

  it('names a program that can be executed', () => {
    for (const path of Object.values<string>(manifest.bin))
      assert.ok((statSync(join(unpacked, path)).mode & 0o111) === 0o111, path)
  })
})

const readme = readFileSync(join(unpacked, 'README.md'), 'utf8')

describe('the types of the package', () => {
  const program = `${examplesOf(readme, 'js')[0]}
import { deviceContract } from 'nbdkit-ts/testing'
import offset from 'nbdkit-ts/filters/offset'
export const kinds: [string, string, string] = [deviceContract.name, offset.kind, memory.kind]
`
  const [plugin = '', filter = ''] = examplesOf(readme)
  const sources = { 'plugin.ts': plugin, 'filter.ts': filter, 'program.mts': program }
  const ways = [
    ['commonjs', 'NodeNext', 'NodeNext'],
    ['module', 'NodeNext', 'NodeNext'],
    ['module', 'Node16', 'Node16'],
    ['module', 'ESNext', 'Bundler'],
    ['commonjs', 'Preserve', 'Bundler'],
  ] as const
  for (const [at, [type, module, moduleResolution]] of ways.entries())
    it(`are found in a project of type ${type} with module ${module}, and moduleResolution ${moduleResolution}`, async () => {
      const project = newProject(type, sources, ['typescript', '@types/node'])
      const tsc = join(packageRoot, 'node_modules/typescript/bin/tsc')
      // The declarations themselves, which all ways have in common, are checked by the first.
      const skip = at === 0 ? '' : ' --skipLibCheck'
      const options = `--strict --noEmit --types node --target ES2022 --lib ES2023,ESNext.Disposable --module ${module} --moduleResolution ${moduleResolution}${skip}`
      const { status, stdout } = await run(
        process.execPath,
        [tsc, ...options.split(' '), ...Object.keys(sources)],
        project,
      )
      assert.equal(stdout, '')
      assert.equal(status, 0)
    })
})

describe('every import that the package names', () => {
  const names = Object.keys(manifest.exports)
    .flatMap((path) => {
      const catalog = path === './plugins/*' ? plugins : path === './filters/*' ? filters : { '': undefined }
      return Object.keys(catalog).map((name) => path.replace('*', name))
    })
    .filter((path) => path !== './package.json')
    .map((path) => normalize(`nbdkit-ts/${path}`).replace(/\/$/, ''))
  const check = `const made = (name, module) => {
  if (/\\/(plugins|filters)\\//.test(name) && typeof module.default !== 'function') throw Error(name)
}`

  it('can be imported, and leaves nothing behind that keeps the process', async () => {
    const text = `${check}\nfor (const name of ${JSON.stringify(names)}) made(name, await import(name))\n`
    const project = newProject('commonjs', { 'all.mjs': text })
    assert.deepEqual(await run(process.execPath, ['all.mjs'], project), { status: 0, stdout: '', stderr: '' })
  })

  it('can be required', async () => {
    const text = `${check}\nfor (const name of ${JSON.stringify(names)}) made(name, require(name))\n`
    const project = newProject('commonjs', { 'all.cjs': text })
    const { status, stderr } = await run(process.execPath, ['all.cjs'], project)
    assert.equal(status, 0, stderr)
  })
})
