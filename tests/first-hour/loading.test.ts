/** Plugins and filters as a newcomer writes them, in a new project, with each Node that is here. */
import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { examplesOf, newProject, nodes, runsTypeScript, serve, unpacked } from './project.js'

const [plugin = '', filter = ''] = examplesOf(readFileSync(join(unpacked, 'README.md'), 'utf8'))
const asJavaScript = (typescript: string) => typescript.replaceAll(/: (number|Uint8Array)/g, '')

/** A module under each name that a file of JavaScript or TypeScript may have. */
const inEach = (name: string, typescript: string) =>
  Object.fromEntries([
    ...['ts', 'mts', 'cts'].map((ending) => [`${name}.${ending}`, typescript]),
    ...['js', 'mjs', 'cjs'].map((ending) => [`${name}.${ending}`, asJavaScript(typescript)]),
  ])

const required = `const { defineFilter } = require('nbdkit-ts')
module.exports = defineFilter({ name: 'required', description: '', params: {}, setup: () => ({}) })
`
const compiled = `"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
const nbdkit_ts_1 = require("nbdkit-ts");
exports.default = (0, nbdkit_ts_1.defineFilter)({ name: 'compiled', description: '', params: {}, setup: () => ({}) });
`
/** A CommonJS plugin may hold the text of another language, whose lines begin like those of a module. */
const withPython = `${required}const python = \`
import sys
export A=1
\`
`

const stripOnly =
  /filter\.ts:\d+: SyntaxError: TypeScript .* not supported .*: do without it, or "npm install jiti"$/

/** TypeScript that Node does not run, and what is said where there is no jiti. */
const forJiti: Record<string, { text: string; said: RegExp }> = {
  'an enum': {
    text: `enum Size { Small = 1 }\n${filter}void Size.Small\n`,
    said: stripOnly,
  },
  'a namespace': {
    text: `namespace Sizes { export const small = 1 }\n${filter}void Sizes.small\n`,
    said: stripOnly,
  },
  'a parameter property': {
    text: `class Size { constructor(readonly bytes: number) {} }\n${filter}void new Size(1)\n`,
    said: stripOnly,
  },
  'an import without the ending of a file': {
    text: "export { default } from './watch'\n",
    said: /there is \/\S+\/watch\.ts: write its whole name, or "npm install jiti"$/,
  },
  'an import by the ending of the compiled file': {
    text: "export { default } from './typed.js'\n",
    said: /there is \/\S+\/typed\.ts: write its whole name, or "npm install jiti"$/,
  },
  'a type that is imported like a value': {
    text: `${filter.replace('defineFilter }', 'defineFilter, Device }')}export const same = (it: Device) => it\n`,
    said: /filter\.ts:1: SyntaxError: .* an export named 'Device': where it is a type, write "import type"$/,
  },
}

const others = { 'typed.ts': filter, 'watch.ts': filter }

for (const { path: node, version } of nodes) {
  const native = runsTypeScript(version)
  const isOurs = node === process.execPath
  const needed = native ? [] : ['jiti']

  const serves = async (project: string, words: readonly string[]) => {
    const { status, stdout, stderr } = await serve(node, project, words)
    // Node 22 says once that to strip types is an experiment.
    assert.equal(
      stderr.replaceAll(/^\(.*(ExperimentalWarning: Type Stripping|node --trace-warnings).*\n/gm, ''),
      '',
    )
    assert.match(stdout, /^nbd\+unix:/)
    assert.equal(status, 0)
  }
  const complains = async (project: string, words: readonly string[], said: RegExp) => {
    const { status, stdout, stderr } = await serve(node, project, words)
    assert.match(stderr, /^nbdkit-ts: [^\n]+\n$/)
    assert.match(stderr.trimEnd(), said)
    assert.deepEqual([status, stdout], [1, ''])
  }

  describe(`with Node ${version}`, { concurrency: 2 }, () => {
    for (const type of ['commonjs', 'module'] as const)
      it(`the README's plugin and filter are served in a project of type ${type}, under each name`, async () => {
        const files = { ...inEach('watch', filter), ...inEach('my-disk', plugin) }
        const project = newProject(type, files, needed)
        const filters = Object.keys(inEach('watch', filter)).map((name) => `--filter=./${name}`)
        await serves(project, [...filters, './my-disk.ts'])
        await serves(project, ['./my-disk.js'])
      })

    it('CommonJS is served, as it is written and as it is compiled', async () => {
      const files = {
        'required.js': required,
        'required.cjs': required,
        'required.ts': required,
        'required.cts': required,
        'compiled.cjs': compiled,
        'python.js': withPython,
      }
      const project = newProject('commonjs', files, needed)
      await serves(project, [...Object.keys(files).map((name) => `--filter=./${name}`), 'null'])
    })

    it('what Node does not run of TypeScript is left to jiti', async () => {
      const texts = Object.values(forJiti).map(({ text }, at) => [`filter-${at}.ts`, text] as const)
      const project = newProject('commonjs', { ...Object.fromEntries(texts), ...others }, ['jiti'])
      await serves(project, [...texts.map(([name]) => `--filter=./${name}`), 'null'])
    })

    it('a package in TypeScript is left to jiti', async () => {
      const files = {
        'node_modules/nbdkit-mine/index.ts': forJiti['an enum']?.text ?? '',
        'node_modules/nbdkit-mine/package.json': '{ "exports": "./index.ts" }',
      }
      await serves(newProject('commonjs', files, ['jiti']), ['--filter=nbdkit-mine', 'null'])
      const said = native
        ? /: publish it as JavaScript, or "npm install jiti"$/
        : /Node \S+ does not run TypeScript/
      await complains(newProject('commonjs', files), ['--filter=nbdkit-mine', 'null'], said)
    })

    // A Node that runs no TypeScript has the same to say of each, and those of CI hardly differ.
    for (const [what, { text, said }] of Object.entries(forJiti).slice(0, native && isOurs ? undefined : 1))
      it(`${what} is refused in one line where jiti is missing, and the line says what to do`, async () => {
        const project = newProject('commonjs', { 'filter.ts': text, ...others })
        const old =
          /filter\.ts: Node \S+ does not run TypeScript: use 22\.18 or later, or "npm install jiti"$/
        await complains(project, ['--filter=./filter.ts', 'null'], native ? said : old)
      })

    if (!isOurs) return

    it('jiti is looked for beside the plugin first, and one that is too old is passed by', async () => {
      const jiti = (text: string) => ({
        'mine/filter.ts': forJiti['an enum']?.text ?? '',
        'mine/node_modules/jiti/index.js': text,
        'mine/node_modules/jiti/package.json': '{ "type": "module", "exports": "./index.js" }',
      })
      const words = ['--filter=./mine/filter.ts', 'null']
      const beside =
        "export const createJiti = () => ({ import: async () => { throw Error('I am beside') } })"
      await complains(newProject('module', jiti(beside), ['jiti']), words, /I am beside$/)
      await serves(newProject('module', jiti('export default () => {}'), ['jiti']), words)
    })

    it('a mistake in TypeScript is told once, with its line, also where jiti is installed', async () => {
      const project = newProject('commonjs', { 'filter.ts': `${filter}\nconst b c\n` }, ['jiti'])
      await complains(project, ['--filter=./filter.ts', 'null'], /filter\.ts:\d+: \w+Error: /)
      await complains(
        newProject('commonjs', { 'x.js': "import 'nbdkit-ts'\nconst b c\n" }),
        ['./x.js'],
        /\/x\.js:2: SyntaxError: /,
      )
    })

    it('require finds nbdkit-ts beside the plugin, and where it is not, the line says so', async () => {
      const project = newProject('commonjs', {})
      const far = newProject('commonjs', { 'x.cjs': required })
      rmSync(join(far, 'node_modules'), { recursive: true })
      await complains(
        project,
        [`--filter=${far}/x.cjs`, 'null'],
        /: write "import" .*, or "npm install nbdkit-ts" beside it$/,
      )
    })
  })
}
