/**
 * Makes dist/package, which is published and run, of the compiled modules in dist/src. A start then reads
 * three files where it would read a hundred. All that is imported by name is an entry, and entries share the
 * code in `library.js`, so there is one copy of each module. Run after the compiler.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rollup } from 'rollup'
import ts from 'typescript'

const dist = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist')
const modules = join(dist, 'src')
const output = join(dist, 'package')

/** Modules that a plugin, a program, a worker thread or a loader imports by name, without the ending. */
const entries = [
  ...['index', 'protocol/index', 'testing/index'],
  ...['cli/main', 'cli/serve/worker', 'cli/modules/api-hook'],
  ...['plugins', 'filters'].filter(isModule).flatMap((kind) =>
    readdirSync(join(modules, kind), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `${kind}/${name}/${name}`),
  ),
].filter((name) => isModule(name) || isModule(`${name}.js`))

function isModule(path) {
  return existsSync(join(modules, path))
}

/**
 * One file holds all that the library imports, one what the program runs beside it to serve, and one the
 * tools of plugins and filters.
 */
function chunkOf(id, { getModuleInfo }) {
  const path = relative(modules, id)
  // The program runs when this module is loaded, so no other may be in one file with it.
  if (path === 'cli/main.js') return undefined
  if (path.startsWith('cli/'))
    return starts('cli/main', 'cli/serve/serve').has(id) ? 'cli/program' : undefined
  if (starts('index', 'cli/main', 'cli/serve/serve').has(id)) return 'library'
  return /^(lib|os|net)\//.test(path) ? 'lib/tools' : undefined

  /** The modules that these import at once, directly or through others. */
  function starts(...names) {
    const found = new Set(names.map((name) => join(modules, `${name}.js`)))
    for (const module of found) for (const next of getModuleInfo(module)?.importedIds ?? []) found.add(next)
    return found
  }
}

/**
 * A module finds files beside itself by `import.meta.url`. In the bundle its place is where the module would
 * be if dist/package had all the files of dist/src.
 */
function placeOf(property, { moduleId, chunkId }) {
  if (property !== 'url') return null
  const from = relative(dirname(chunkId), relative(modules, moduleId))
  return `new URL(${JSON.stringify(from)}, import.meta.url).href`
}

/** A start reads and hashes all of the code. The comments, half of the code, are in src. */
function withoutComments(code) {
  const options = { removeComments: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }
  return { code: ts.transpileModule(code, { compilerOptions: options }).outputText, map: null }
}

const bundle = await rollup({
  input: Object.fromEntries(entries.map((name) => [name, join(modules, `${name}.js`)])),
  external: (id) => !/^[./]/.test(id) && !/^[a-z]:\\/i.test(id),
  preserveEntrySignatures: 'strict',
  treeshake: false,
  plugins: [{ name: 'places', resolveImportMeta: placeOf, renderChunk: withoutComments }],
})
rmSync(output, { recursive: true, force: true })
await bundle.write({
  dir: output,
  format: 'es',
  entryFileNames: '[name].js',
  chunkFileNames: '[name].js',
  hoistTransitiveImports: false,
  manualChunks: chunkOf,
})
await bundle.close()
