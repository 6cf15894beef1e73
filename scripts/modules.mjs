/**
 * Writes every list of the plugins and filters, from their folders: both catalogs, docs/modules.md, and the
 * manual pages in package.json. `npm run modules`; with `--check` the script names the lists that are not up
 * to date, and writes none.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { moduleNames } from './module-names.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const onlyCheck = process.argv.includes('--check')
const kinds = ['plugin', 'filter']
const names = Object.fromEntries(kinds.map((kind) => [kind, moduleNames(kind)]))

for (const kind of kinds) write(`src/${kind}s/catalog.ts`, catalog(kind))
write('docs/modules.md', await page())
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
write('package.json', `${JSON.stringify({ ...manifest, man: manualPages() }, null, 2)}\n`)

function write(path, text) {
  if (readFileSync(join(root, path), 'utf8') === text) return
  if (onlyCheck) process.exitCode = 1
  else writeFileSync(join(root, path), text)
  console.log(onlyCheck ? `${path} is not up to date: run "npm run modules"` : `${path} is written`)
}

function catalog(kind) {
  const key = (name) => (/^\w+$/.test(name) ? name : `'${name}'`)
  return [
    `/** The ${kind}s that come with nbdkit-ts, by name. Each is imported when it is asked for, and not before. */`,
    '// Written by npm run modules.',
    `export const ${kind}s: Readonly<Record<string, () => Promise<{ readonly default: unknown }>>> = {`,
    ...names[kind].map((name) => `  ${key(name)}: () => import('./${name}/${name}.js'),`),
    '}',
    '',
  ].join('\n')
}

async function page() {
  const lines = [
    '# Plugins and filters',
    '',
    'All modules that come with nbdkit-ts. Each page has the parameters, examples, and the differences from the module of',
    'the same name in nbdkit.',
    '',
  ]
  for (const kind of kinds) {
    const title = `${kind[0].toUpperCase()}${kind.slice(1)}`
    const rows = await Promise.all(names[kind].map((name) => row(kind, name)))
    lines.push(`## ${title}s`, '', ...table([[title, 'What the module does'], ...rows]), '')
  }
  return `${lines.join('\n').trimEnd()}\n`
}

async function row(kind, name) {
  const built = join(root, 'dist', 'src', `${kind}s`, name, `${name}.js`)
  const { default: module } = await import(pathToFileURL(built))
  return [`[${name}](../src/${kind}s/${name}/${name}.md)`, module.definition.description]
}

/** Columns are as wide as their widest cell, as in the other pages. */
function table(rows) {
  const widths = [0, 1].map((column) => Math.max(...rows.map((cells) => cells[column].length)))
  const line = (cells) => `| ${cells.map((cell, at) => cell.padEnd(widths[at])).join(' | ')} |`
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return [line(rows[0]), rule, ...rows.slice(1).map(line)]
}

/** Lists each page, because npm accepts no pattern. */
function manualPages() {
  const pages = kinds.flatMap((kind) => names[kind].map((name) => `nbdkit-ts-${name}-${kind}`))
  return ['nbdkit-ts', ...pages].map((name) => `./dist/man/${name}.1`)
}
