/** Reads the tree and says what is out of order in it. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, normalize, relative } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { keysOf, type Params } from '../src/api/params.js'
import { filters } from '../src/filters/catalog.js'
import { plugins } from '../src/plugins/catalog.js'

const root = rootAbove(dirname(fileURLToPath(import.meta.url)))

function rootAbove(directory: string): string {
  return existsSync(join(directory, 'package.json')) ? directory : rootAbove(dirname(directory))
}

/** Paths from the root: of the files in it, and of all below these folders. */
const files = ['', '.ci', 'bench', 'bin', 'ci', 'docs', 'examples', 'scripts', 'src', 'tests']
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) => readdirSync(join(root, folder), { recursive: folder !== '', withFileTypes: true }))
  .filter((entry) => entry.isFile())
  .map(({ name, parentPath }) => relative(root, join(parentPath, name)))
  .filter((path) => !path.includes('node_modules/'))
  .sort()

const textOf = (path: string) => readFileSync(join(root, path), 'utf8')
const linesOf = (path: string) => textOf(path).split('\n')
/** All lines of some files, each with its place. */
const numbered = (paths: readonly string[]) =>
  paths.flatMap((path) => linesOf(path).map((line, index) => ({ line, where: `${path}:${index + 1}` })))

const typescript = files.filter((path) => path.endsWith('.ts'))
const tests = typescript.filter((path) => path.endsWith('.test.ts'))
const sources = typescript.filter((path) => path.startsWith('src/') && !tests.includes(path))
const programs = files.filter((path) => /\.(ts|mjs)$|^bin\/|^\.ci\//.test(path))
const pages = files.filter((path) => path.endsWith('.md'))

/** A test that fails with all complaints, one a line. */
function rule(name: string, complaints: () => readonly string[] | Promise<readonly string[]>): void {
  test(name, async () => {
    const found = await complaints()
    if (found.length > 0) assert.fail(`${found.length} out of order:\n${found.join('\n')}`)
  })
}

/**
 * What each floor may import beside itself: the table of docs/architecture.md. `src/*.ts`, `cli` and tests
 * import from anywhere.
 */
const floors = new Map(
  [...textOf('docs/architecture.md').matchAll(/^\| `(\w+)(?:\/x)?` +\|[^|]*\| (`[^|]*|nothing) *\|$/gm)].map(
    ([, floor = '', imports = '']) =>
      [floor, [...imports.matchAll(/`(\w+)`/g)].map(([, name = '']) => name)] as const,
  ),
)

/** What a file imports of ours, as paths from the root. Types count. */
function importsOf(path: string): string[] {
  const found = textOf(path).matchAll(/\b(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)'/g)
  return [...found].map(([, to = '']) => normalize(join(dirname(path), to)).replace(/\.js$/, '.ts'))
}

/** `src/plugins/file/disk.ts` is of `plugins` and of `plugins/file`. The catalogues are of no module. */
function placeOf(path: string): { floor: string; module: string } {
  const [, floor = '', name = ''] = path.split('/')
  const isModule = ['plugins', 'filters'].includes(floor) && !name.endsWith('.ts')
  return { floor, module: isModule ? `${floor}/${name}` : floor }
}

function mayImport(path: string, imported: string): boolean {
  const [from, to] = [placeOf(path), placeOf(imported)]
  const allowed = floors.get(from.floor)
  if (allowed === undefined || from.module === to.module) return true
  if (from.floor === to.floor) return from.module === from.floor
  return allowed.includes(to.floor)
}

describe('imports', () => {
  rule('go to the floors below, and never from one plugin or filter to another', () =>
    sources.flatMap((path) => {
      const wrong = importsOf(path).filter((to) => !mayImport(path, to))
      return wrong.map((to) => `${path} imports ${to}`)
    }),
  )

  rule('are judged on each floor that there is', () => {
    const there = sources.filter((path) => path.split('/').length > 2).map((path) => placeOf(path).floor)
    return [...new Set(there)].filter((floor) => floor !== 'cli' && !floors.has(floor))
  })

  rule('make no circle', () => {
    const done = new Set<string>()
    const circles: string[] = []
    const visit = (path: string, way: readonly string[]): void => {
      if (way.includes(path)) circles.push([...way.slice(way.indexOf(path)), path].join(' → '))
      if (way.includes(path) || done.has(path)) return
      for (const to of importsOf(path)) if (sources.includes(to)) visit(to, [...way, path])
      done.add(path)
    }
    for (const path of sources) visit(path, [])
    return circles
  })
})

const kinds = ['plugins', 'filters'] as const
const catalogs = { plugins, filters }
const modules = kinds.flatMap((kind) => {
  const inFolders = files.map((path) => path.split('/')).filter((parts) => parts.length > 3)
  const names = inFolders.filter(([, floor]) => floor === kind).map(([, , name = '']) => name)
  return [...new Set(names)].map((name) => {
    const path = (ending: string) => `src/${kind}/${name}/${name}${ending}`
    return { kind, name, page: path('.md'), parts: ['.ts', '.test.ts', '.md'].map(path) }
  })
})
type Module = (typeof modules)[number]

/** The modules of the catalogues, with what they define. */
async function definitions() {
  const listed = modules.filter(({ kind, name }) => Object.hasOwn(catalogs[kind], name))
  const load = async (module: Module) => {
    const loaded = (await catalogs[module.kind][module.name]?.()) as { readonly default: Factory }
    return { ...module, defines: loaded.default }
  }
  return Promise.all(listed.map(load))
}
interface Factory {
  readonly kind: string
  readonly definition: { readonly name: string; readonly params: Params }
}

/** Words in backticks of the first column under "Parameters". */
function keysInTable(page: string): string[] {
  const sections = textOf(page).split('\n## ')
  const rows = sections.find((text) => text.startsWith('Parameters\n'))?.match(/^\|.*$/gm) ?? []
  return rows.flatMap((row) => row.split('|')[1]?.match(/(?<=`)[^`\s]+(?=`)/g) ?? [])
}

describe('plugins and filters', () => {
  rule('are folders with a source, a test and a manual page of their name, and no index', () => {
    const missing = modules.flatMap(({ parts }) => parts).filter((path) => !files.includes(path))
    const odd = files.filter((path) =>
      /^src\/(plugins|filters)\/((?!catalog\.ts$)[^/]*|.*\/index\.ts)$/.test(path),
    )
    return [...missing.map((path) => `${path} is missing`), ...odd]
  })

  rule('are in the catalogue, sorted by name', () =>
    kinds
      .map((kind) => ({
        kind,
        there: modules.filter((module) => module.kind === kind).map(({ name }) => name),
        listed: Object.keys(catalogs[kind]),
      }))
      .filter(({ there, listed }) => there.join() !== listed.join())
      .map(({ kind, there, listed }) => {
        const missing = there.filter((name) => !listed.includes(name))
        return `src/${kind}/catalog.ts: ${missing.length > 0 ? `has no ${missing}` : `is not sorted: ${listed}`}`
      }),
  )

  rule('are defined under the name of their folder', async () => {
    const wrong = (await definitions()).filter(({ kind, name, defines }) => {
      return `${defines.kind}s` !== kind || defines.definition.name !== name
    })
    return wrong.map(({ parts, defines }) => `${parts[0]} defines ${defines.kind} ${defines.definition.name}`)
  })

  rule('have manual pages with the same headings, in order', () => {
    const headings = ['Synopsis', 'Description', 'Parameters', 'Examples', 'Differences', 'See also']
    return modules
      .filter(({ name, page }) => {
        if (!files.includes(page)) return false
        const found = linesOf(page).filter((line) => /^##? /.test(line))
        return found.join() !== [`# ${name}`, ...headings.map((heading) => `## ${heading}`)].join()
      })
      .map(({ page }) => page)
  })

  rule('have manual pages that list each key of the command line', async () =>
    (await definitions())
      .filter(({ page }) => files.includes(page))
      .map(({ page, defines }) => {
        const params = Object.entries(defines.definition.params)
        const keys = params.flatMap(([name, parameter]) => keysOf(name, parameter)).sort()
        return { page, keys: keys.join(), listed: keysInTable(page).sort().join() }
      })
      .filter(({ keys, listed }) => keys !== listed)
      .map(({ page, keys, listed }) => `${page} lists ${listed || 'none'}, there are ${keys || 'none'}`),
  )
})

rule('package.json exports and lists what is there', () => {
  const manifest = JSON.parse(textOf('package.json')) as {
    exports: Record<string, string | Record<string, string>>
    bin: Record<string, string>
    files: string[]
  }
  const exported = Object.values(manifest.exports)
    .flatMap((target) => (typeof target === 'string' ? [target] : Object.values(target)))
    .flatMap((target) => {
      if (!target.includes('*')) return [target]
      return modules
        .filter(({ kind }) => target.includes(`/${kind}/`))
        .map(({ name }) => target.replaceAll('*', name))
    })
  const listed = manifest.files.filter((path) => !path.startsWith('!') && !path.startsWith('dist'))
  return [...new Set([...exported, ...Object.values(manifest.bin), ...listed])]
    .map((path) => path.replace(/^\.\/dist\/(package|src)\/(.*?)(\.d\.ts|\.js)$/, 'src/$2.ts'))
    .filter((path) => !existsSync(join(root, path)))
})

describe('files', () => {
  rule('have lines of 110 columns at most, but for texts in quotes, which stay in one piece', () => {
    const isComment = (line: string) => /^\s*(\/\/|\/?\*|#)/.test(line)
    const columns = (line: string) =>
      (isComment(line) ? line : line.replaceAll(/'[^']*'|`[^`]*`/g, "''")).length
    const long = numbered(programs).filter(({ line }) => line.length > 110 && columns(line) > 110)
    return long.map(({ where }) => where)
  })

  rule('have 400 lines at most, where they are sources', () =>
    sources
      .filter((path) => linesOf(path).length > 401)
      .map((path) => `${path}: ${linesOf(path).length - 1}`),
  )

  rule('have names in lower case, with words joined by -', () =>
    programs
      .filter((path) => path !== 'bin/package.json')
      .filter((path) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.test)?(\.ts|\.mjs)?$/.test(basename(path))),
  )

  rule('turn no check off: no doubt is silenced', () => {
    const pragmas = [...['biome', 'c8', 'istanbul'].map((tool) => `${tool}[- ]ignore`), `@ts-${'ignore'}`]
    return numbered(programs)
      .filter(({ line }) => new RegExp(pragmas.join('|')).test(line))
      .map(({ where }) => where)
  })

  rule('name no registry, where they lock versions', () =>
    files.filter((path) => path.endsWith('package-lock.json') && textOf(path).includes('"resolved"')),
  )
})

describe('tests', () => {
  const forbidden: readonly [name: string, pattern: RegExp][] = [
    ['run alone', /\b(?:test|it|describe|suite)\.(?:only)\b|\bonly: true\b/],
    ['are put off', /\b(?:test|it|describe|suite|t)\.(?:todo)\b|\btodo: true\b/],
    ['are skipped without a reason', /\b(?:test|it|describe|suite)\.(?:skip)\b|\.skip\(\)|\bskip: true\b/],
  ]
  // Here the words stand for themselves.
  const others = tests.filter((path) => path !== 'tests/tidy.test.ts')
  for (const [name, pattern] of forbidden)
    rule(`there are none that ${name}`, () =>
      numbered(others)
        .filter(({ line }) => pattern.test(line))
        .map(({ line, where }) => `${where}: ${line.trim()}`),
    )
})

/** Where a page leads to within the tree, as paths from the root. Code is not looked at. */
function linksOf(page: string): string[] {
  const text = textOf(page).replaceAll(/^```[\s\S]*?^```|^ {4}.*$|`[^`\n]*`/gm, '')
  const targets = [...text.matchAll(/\]\(([^)\s#]+)[^)]*\)/g)].map(([, to = '']) => to)
  const inTree = targets.filter((to) => !/^[a-z]+:/.test(to))
  return inTree.map((to) => normalize(join(dirname(page), decodeURI(to))).replace(/\/$/, ''))
}

describe('pages', () => {
  rule('link to what is there', () =>
    pages.flatMap((page) => {
      const broken = linksOf(page).filter((to) => to.startsWith('..') || !existsSync(join(root, to)))
      return broken.map((to) => `${page} links to ${to}`)
    }),
  )

  rule('in docs can be reached from the README', () => {
    if (!pages.includes('README.md')) return ['there is no README.md']
    const reached = new Set<string>(['README.md'])
    for (const page of reached) for (const to of linksOf(page)) if (pages.includes(to)) reached.add(to)
    return pages.filter((page) => page.startsWith('docs/') && !reached.has(page))
  })
})
