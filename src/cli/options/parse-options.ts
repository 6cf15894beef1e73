/** Turns the words of a command line into settings. */
import { requireUtf8 } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import { argumentsInFile } from './argument-files.js'
import { getopt } from './getopt.js'
import { missingOptions } from './missing-options.js'
import { type Option, options } from './options.js'
import { defaults, type Settings } from './settings.js'

export interface ParsedLine {
  readonly settings: Settings
  /** The plugin and the words after it. */
  readonly words: readonly string[]
}

/** Options that ask for different transports: no two in a row can be combined. */
const exclusive: readonly (readonly [keyof Settings, string][])[] = [
  [
    ['unix', '-U'],
    ['port', '-p'],
    ['stdio', '-s'],
  ],
  [
    ['run', '--run'],
    ['stdio', '-s'],
  ],
  [
    ['printUri', '--print-uri'],
    ['stdio', '-s'],
  ],
]

/**
 * Parses the options of a command line, and returns the plugin and its parameters as words.
 *
 * @throws ConfigError for an option that is unknown, not implemented yet, has a bad value, or conflicts with
 * another.
 */
export function parseOptions(argv: readonly string[]): ParsedLine {
  const known = [...options, ...missingOptions]
  const { options: given, words } = getopt(argv, known, argumentsInFile)
  let settings = defaults
  for (const { option, value } of given) {
    const name = `--${option.names[0]}`
    if ('why' in option)
      throw new ConfigError(`${name} is an option of nbdkit that nbdkit-ts does not have yet: ${option.why}`)
    settings = { ...settings, ...change(name, option, value, settings) }
  }
  if (settings.stdio && given.some(({ option }) => option.names.includes('dump-plugin')))
    throw new ConfigError('-s and --dump-plugin cannot be used together')
  for (const row of exclusive) {
    const [first, second] = row.filter(([key]) => settings[key] !== undefined && settings[key] !== false)
    if (first && second) throw new ConfigError(`${first[1]} and ${second[1]} cannot be used together`)
  }
  return { settings, words }
}

function change(name: string, option: Option, value: string, before: Settings): Partial<Settings> {
  try {
    return option.set(option.bytes ? value : requireUtf8(value), before)
  } catch (error) {
    throw new ConfigError(`${name}: ${messageOf(error)}`, { cause: error })
  }
}
