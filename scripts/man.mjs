/**
 * Makes manual pages, `npm run man`: from docs/nbdkit-ts.md and the page of each plugin and filter to
 * dist/man, or to the given folder. npm installs the pages that package.json lists (`npm run modules`).
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import remarkGfm from 'remark-gfm'
import remarkMan from 'remark-man'
import remarkParse from 'remark-parse'
import { unified } from 'unified'
import { moduleNames } from './module-names.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const [, , elsewhere] = process.argv
const target = resolve(elsewhere ?? join(root, 'dist', 'man'))
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** For reproducible builds (https://reproducible-builds.org/specs/source-date-epoch/). */
const { SOURCE_DATE_EPOCH: epoch } = process.env
const date = epoch === undefined ? new Date() : new Date(Number(epoch) * 1000)

const parser = unified().use(remarkParse).use(remarkGfm)

rmSync(target, { recursive: true, force: true })
mkdirSync(target, { recursive: true })
const pages = [
  { name: 'nbdkit-ts', path: join(root, 'docs', 'nbdkit-ts.md') },
  ...modules('plugin'),
  ...modules('filter'),
]
for (const page of pages) writeFileSync(join(target, `${page.name}.1`), render(page))
console.log(`${pages.length} manual pages are in ${target}`)

/** Skips a module without a page. The test of the source tree reports it. */
function modules(kind) {
  return moduleNames(kind)
    .map((name) => ({
      name: `nbdkit-ts-${name}-${kind}`,
      path: join(root, 'src', `${kind}s`, name, `${name}.md`),
    }))
    .filter(({ path }) => existsSync(path))
}

function render({ name, path }) {
  const tree = parser.parse(readFileSync(path, 'utf8'))
  const [first] = tree.children.filter(({ type }) => type === 'paragraph')
  const [sentence, more] = textOf(first).split(/\.\s|\.$/)
  const description = asPhrase(sentence)
  // A sentence alone already appears below the name.
  const body = tree.children.filter((node) => node.type !== 'html' && (node !== first || more))
  const shaped = { ...tree, children: body.flatMap(shape) }
  const settings = {
    name,
    section: 1,
    description,
    date,
    version: `nbdkit-ts ${manifest.version}`,
    manual: 'NBDKIT-TS',
  }
  const roff = parser().use(remarkMan, settings).stringify(shaped)
  // Block quotes are the texts of terms here: put them right below the terms, indented. A line of code may
  // begin with a dot.
  return roff
    .replaceAll('\n.RS 0\n.P\n', '\n.RS 4\n')
    .replaceAll(/^\.nf$[\s\S]*?^\.fi$/gm, (code) => code.replaceAll(/^(?!\.(?:nf|fi)$)(?=[.'])/gm, '\\&'))
}

/** The description for whatis(1). An abbreviation or a name keeps its capital. */
function asPhrase(sentence) {
  const text = sentence.replaceAll(/\s+/g, ' ')
  return /^[A-Z][a-z ]/.test(text) ? text[0].toLowerCase() + text.slice(1) : text
}

function textOf({ value = '', children = [] }) {
  return value + children.map(textOf).join('')
}

/**
 * Converts tables and links: a terminal is too narrow for tables and cannot follow paths. They become terms
 * with text below, and names.
 */
function shape(node) {
  if (node.type === 'table') return node.children.slice(1).flatMap((row) => terms(node.children[0], row))
  if (node.type === 'link' && !/^[a-z]+:/.test(node.url)) return [{ type: 'text', value: nameOf(node) }]
  return [node.children === undefined ? node : { ...node, children: node.children.flatMap(shape) }]
}

/**
 * Makes terms of a table row. Values are part of the term, as for a key. The last column goes below. Names in
 * code are left out, because they are of no use here.
 */
function terms(header, { children: cells }) {
  const titles = header.children.map(textOf)
  const values = cells.filter((cell, at) => titles[at] === 'Value' && textOf(cell) !== '')
  const asides = values.flatMap(({ children }) => [text(', '), ...children])
  const lead = titles.at(-1) === 'Meaning' ? [] : [text(`${titles.at(-1)}: `)]
  const meaning = { type: 'paragraph', children: [...lead, ...cells.at(-1).children].flatMap(shape) }
  return [
    { type: 'paragraph', children: [...cells[0].children, ...asides].flatMap(shape) },
    { type: 'blockquote', children: [meaning] },
  ]
}

function text(value) {
  return { type: 'text', value }
}

/** The page of a module by its name in man, any other page by its title. */
function nameOf(link) {
  const [, name] = /([^/]+)\/\1\.md$/.exec(link.url) ?? []
  const page = pages.find((one) => name !== undefined && basename(one.path) === `${name}.md`)
  if (page !== undefined) return `${page.name}(1)`
  return link.url.endsWith('nbdkit-ts.md') ? 'nbdkit-ts(1)' : textOf(link)
}
