/** Finds the plugin or filter that a command line word names. */
import { existsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { absolutePath, fsPath, isUtf8 } from '../../api/byte-text.js'
import { ConfigError } from '../../api/errors.js'
import { orNearest } from '../../api/nearest.js'
import type { FilterDefinition, PluginDefinition } from '../../api/plugin.js'
import { filters } from '../../filters/catalog.js'
import { shellQuote } from '../../lib/shell-quote.js'
import { plugins } from '../../plugins/catalog.js'
import { foreignPlugin, isDisk, scriptHint } from './languages.js'

type Kind = 'plugin' | 'filter'
type DefinitionOf<K extends Kind> = K extends 'plugin' ? PluginDefinition : FilterDefinition

/** A plugin or filter as its module defines it, and its location. */
export interface Found<D = PluginDefinition | FilterDefinition> {
  readonly kind: Kind
  readonly definition: D
  readonly path: string
  /** True where it comes with nbdkit-ts. */
  readonly builtIn: boolean
  /** Words before those of the command line: they name the file that this plugin was found for. */
  readonly words: readonly string[]
}

const catalogs = { plugin: plugins, filter: filters }

/**
 * Imports the layer that a word names: an entry of the catalogue, a file (a word with `/` or `.`), or a
 * package that is found from the working directory. For a file in another language, returns the plugin that
 * loads such files.
 *
 * @throws ConfigError that says what was looked for, and what was found instead.
 */
export async function findLayer<K extends Kind>(kind: K, word: string): Promise<Found<DefinitionOf<K>>> {
  const found = (path: string, module: unknown, builtIn = false) => ({
    kind,
    definition: check(kind, word, path, module),
    path,
    builtIn,
    words: [],
  })
  const catalog = catalogs[kind]
  const load = Object.hasOwn(catalog, word) ? catalog[word] : undefined
  if (load) {
    const path = fileURLToPath(new URL(`../../${kind}s/${word}/${word}.js`, import.meta.url))
    return found(path, await load(), true)
  }
  const { importFile, importPackage } = await import('./imports.js')
  if (isPackageName(word)) {
    const directory = packageDirectory(word)
    if (directory === undefined) throw new ConfigError(unknown(kind, word))
    return found(directory, await importPackage(word))
  }
  const path = absolutePath(word)
  if (!existsSync(fsPath(path))) throw new ConfigError(`${kind} ${word}: there is no file ${path}`)
  if (!statSync(fsPath(path)).isFile()) throw new ConfigError(notAFile(kind, word, path))
  const foreign = foreignPlugin(path)
  if (foreign && kind === 'plugin') {
    const loader = await findLayer(kind, foreign.plugin)
    return { ...loader, words: [foreign.word] }
  }
  if (foreign?.plugin === 'native')
    throw new ConfigError(`filter ${word}: filters of nbdkit cannot be loaded, only its plugins`)
  const hint = kind === 'plugin' ? scriptHint(path, word) : undefined
  if (hint !== undefined) throw new ConfigError(`plugin ${word}: ${hint}`)
  if (isDisk(path))
    throw new ConfigError(
      `${kind} ${word}: it is neither JavaScript nor TypeScript${kind === 'plugin' ? asDisk(word) : ''}`,
    )
  if (!isUtf8(path))
    throw new ConfigError(
      `${kind} ${word}: ${path} is not UTF-8, and cannot be imported: give it another name`,
    )
  return found(path, await importFile(path))
}

function notAFile(kind: Kind, word: string, path: string): string {
  const stats = statSync(fsPath(path))
  const hint = stats.isDirectory() ? asDirectory(word) : stats.isBlockDevice() ? asDisk(word) : ''
  return `${kind} ${word}: ${path} is not a file${kind === 'plugin' ? hint : ''}`
}

function asDisk(word: string): string {
  return `: to serve it as a disk, say "nbdkit-ts file ${shellQuote(word)}"`
}

function asDirectory(word: string): string {
  return `: to serve the files in it, say "nbdkit-ts file ${shellQuote(`dir=${word}`)}"`
}

/** A package name can only contain a slash after a scope. */
function isPackageName(word: string): boolean {
  return /^(@[\w~-][\w.~-]*\/)?[\w~-]+$/.test(word)
}

/** Looks where Node does: in `node_modules` of the working directory, then of each parent directory. */
function packageDirectory(name: string): string | undefined {
  for (let directory = process.cwd(); ; directory = dirname(directory)) {
    const candidate = join(directory, 'node_modules', name)
    if (existsSync(join(candidate, 'package.json'))) return candidate
    if (dirname(directory) === directory) return undefined
  }
}

function unknown(kind: Kind, word: string): string {
  const known = Object.keys(catalogs[kind])
  const other = kind === 'plugin' ? 'filter' : 'plugin'
  if (Object.hasOwn(catalogs[other], word)) return `${word} is a ${other}, not a ${kind}${usage(other, word)}`
  if (kind === 'plugin' && existsSync(fsPath(absolutePath(word)))) return notAPlugin(word)
  const near = orNearest(word, known) || ` (known are ${known.join(', ')})`
  return `unknown ${kind} "${word}"${near}; for a file give its path, as in ./${word}.ts`
}

/** The message for a file here with the name of an unknown plugin. */
function notAPlugin(word: string): string {
  const path = absolutePath(word)
  const stats = statSync(fsPath(path))
  if (stats.isFile() && !isDisk(path))
    return `unknown plugin "${word}"; for the file of that name give its path, as in ./${word}`
  return `unknown plugin "${word}"${stats.isDirectory() ? asDirectory(word) : asDisk(word)}`
}

function usage(kind: Kind, word: string): string {
  return kind === 'filter' ? `: give it as --filter=${word}` : ': give it without --filter'
}

function check<K extends Kind>(kind: K, word: string, path: string, module: unknown): DefinitionOf<K> {
  const wanted = kind === 'plugin' ? 'definePlugin' : 'defineFilter'
  const found = defaultOf(module)
  if (typeof found === 'function' && 'kind' in found && 'definition' in found) {
    if (found.kind === kind) return found.definition as DefinitionOf<K>
    if (found.kind === 'plugin' || found.kind === 'filter')
      throw new ConfigError(`${word} is a ${found.kind}, not a ${kind}${usage(found.kind, word)} (${path})`)
  }
  throw new ConfigError(
    `${kind} ${word}: expected "export default ${wanted}({…})" in ${path}, found ${kindOf(found)}`,
  )
}

/** CommonJS exports a plugin itself, or beside `__esModule` where a compiler converted a module. */
function defaultOf(module: unknown): unknown {
  const found = typeof module === 'function' ? module : defaultIn(module)
  return typeof found === 'object' && found !== null && '__esModule' in found ? defaultIn(found) : found
}

function defaultIn(module: unknown): unknown {
  return (module as { readonly default?: unknown }).default
}

function kindOf(found: unknown): string {
  if (found === undefined) return 'no default export'
  if (found === null) return 'a default export of null'
  if (typeof found === 'object' && 'kind' in found && 'inputs' in found)
    return `a ${found.kind} that has been called: export it without its values`
  return `a default export that is ${/^[aeiou]/.test(typeof found) ? 'an' : 'a'} ${typeof found}`
}
