/** The output of `--help` and `--version`. */
import { keysOf, type Param } from '../../api/params.js'
import { filters } from '../../filters/catalog.js'
import { plugins } from '../../plugins/catalog.js'
import type { Found } from '../modules/modules.js'
import { type Option, options } from '../options/options.js'
import { followed, ourPackage } from './package.js'

const width = 100

/**
 * Returns the parameters of each named layer, the plugin first, then the usage. `more` is text from the
 * plugin itself. Without named layers, lists all plugins and filters.
 */
export function help(layers: readonly Found[], more = ''): string {
  const plugin = layers.filter(({ kind }) => kind === 'plugin').flatMap(layerPart)
  const own = more.trim() === '' ? [] : ['', more.trim()]
  const above = layers.filter(({ kind }) => kind === 'filter').map(layerPart)
  const parts = [[...plugin, ...own], ...above, usage(), ...(layers.length === 0 ? [known()] : [])]
  return parts
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')
}

function usage(): string[] {
  return [
    'nbdkit-ts [options] [--filter=FILTER ...] PLUGIN [[key=]value ...]',
    '',
    'PLUGIN and FILTER are names, paths of files (./mine.ts) or names of packages.',
    'Names of options may be shortened while they stay unambiguous.',
    '',
    ...columns(options.map((option): [string, string] => [synopsis(option), option.doc])),
  ]
}

function layerPart({ kind, definition, path }: Found): string[] {
  const { name, description, params } = definition
  const parameters = Object.entries(params).flatMap(([key, param]) => parameterRow(key, param))
  return [`${kind}: ${name} (${description})`, `(${path})`, ...columns(parameters)]
}

function known(): string[] {
  const rows: [string, string][] = [
    ['Plugins:', Object.keys(plugins).join(', ')],
    ['Filters:', Object.keys(filters).join(', ')],
  ]
  return [
    ...columns(rows),
    '',
    'nbdkit-ts --help PLUGIN, or --help --filter=FILTER, tells what one of them takes.',
  ]
}

function synopsis({ short, names, placeholder }: Option): string {
  const argument = placeholder === undefined ? '' : `=${placeholder}`
  return `${short === undefined ? '    ' : `-${short}, `}--${names[0]}${argument}`
}

function parameterRow(name: string, param: Param): [string, string][] {
  const notes = [
    ...(param.required ? ['required'] : []),
    // A list that may be given is empty unless given.
    ...(param.default === undefined || param.repeatable ? [] : [`default ${param.default}`]),
    ...(param.repeatable ? ['may be given several times'] : []),
    ...(param.magic ? ['may be given without its key'] : []),
  ]
  const doc = notes.length > 0 ? `${param.doc} (${notes.join(', ')})` : param.doc
  return [[`${keysOf(name, param).join(', ')}=${param.placeholder}`, doc]]
}

/** Formats two columns and wraps the second. */
function columns(rows: readonly (readonly [string, string])[]): string[] {
  const indent = 2 + Math.max(0, ...rows.map(([left]) => left.length)) + 2
  return rows.flatMap(([left, right]) => {
    const lines = wrap(right, width - indent)
    return lines.map((line, index) => `${(index === 0 ? `  ${left}` : '').padEnd(indent)}${line}`)
  })
}

function wrap(text: string, most: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? ''
    if (line !== '' && line.length + 1 + word.length > most) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines
}

/**
 * Returns one line for the program and one for each layer. For layers of other authors the version is
 * unknown.
 */
export function version(layers: readonly Found[]): string {
  const ours = ourPackage().version
  return [
    `nbdkit-ts ${ours} (nbdkit ${followed})`,
    ...layers.map(({ definition, builtIn }) => definition.name + (builtIn ? ` ${ours}` : '')),
  ].join('\n')
}
