/** Distributes the command line words after the plugin's name to the layers that take them. */
import { ConfigError } from '../api/errors.js'
import { keysOf, knownKeys, type Param, type Params, type Setting } from '../api/params.js'
import type { FilterDefinition, Layer, PluginDefinition } from '../api/plugin.js'

export interface Configured {
  readonly plugin: Layer<'plugin'>
  /** Outermost first. */
  readonly filters: readonly Layer<'filter'>[]
}

/**
 * Passes each `key=value` to the outermost layer that declares the key, else to the outermost that takes any
 * key. Passes a bare word to the plugin's magic parameter, and further ones to the plugin's settings, where
 * it has any. Values stay text until the server is set up.
 *
 * @throws ConfigError for a key that no layer knows or that is given twice, and for a bare word that no
 * parameter takes.
 */
export function configure(
  plugin: PluginDefinition,
  filters: readonly FilterDefinition[],
  words: readonly string[],
): Configured {
  const bottom: PartialLayer<PluginDefinition> = { definition: plugin, inputs: {} }
  const above = filters.map((definition): PartialLayer<FilterDefinition> => ({ definition, inputs: {} }))
  for (const word of words) {
    const keyed = split(word)
    if (keyed) give([...above, bottom], ...keyed)
    else giveBare(bottom, word)
  }
  return {
    plugin: { kind: 'plugin', ...bottom },
    filters: above.map((filter) => ({ kind: 'filter', ...filter })),
  }
}

/** A layer, and its inputs so far. */
interface PartialLayer<D = PluginDefinition | FilterDefinition> {
  readonly definition: D
  readonly inputs: Record<string, unknown>
}

/** A key begins with a letter (nbdkit-plugin(3), `.config`). Any other word with a `=` is a bare word. */
function split(word: string): [key: string, value: string] | undefined {
  const match = /^([a-z][\w.-]*)=(.*)$/is.exec(word)
  return match ? [match[1] ?? '', match[2] ?? ''] : undefined
}

export function isParameter(word: string): boolean {
  return split(word) !== undefined
}

function giveBare({ definition, inputs }: PartialLayer<PluginDefinition>, word: string): void {
  const params = Object.entries(definition.params)
  const magic = params.find(([, parameter]) => parameter.magic)
  const settings = settingsOf(definition.params)
  if (magic && !(settings !== undefined && Object.hasOwn(inputs, magic[0])))
    giveOnce(definition, inputs, magic[0], keysOf(...magic)[0] ?? magic[0], word)
  else if (settings !== undefined) addSetting(inputs, settings, [undefined, word])
  else
    throw new ConfigError(
      `"${word}": ${definition.name} takes no bare word, expected key=value ` +
        `(it knows ${knownKeys(definition.params)})`,
    )
}

function settingsOf(params: Params): string | undefined {
  return Object.entries(params).find(([, parameter]) => parameter.settings)?.[0]
}

function addSetting(inputs: Record<string, unknown>, name: string, setting: Setting): void {
  inputs[name] = [...((inputs[name] ?? []) as readonly Setting[]), setting]
}

function give(layers: readonly PartialLayer[], key: string, value: string): void {
  for (const { definition, inputs } of layers) {
    const declared = find(definition.params, key)
    if (declared === undefined) continue
    // A script may use the same key as the parameter that names the script. A second value is then for the
    // script.
    const isForScript = definition.params[declared]?.magic && Object.hasOwn(inputs, declared)
    const settings = isForScript ? settingsOf(definition.params) : undefined
    if (settings !== undefined) addSetting(inputs, settings, [key, value])
    else if (definition.params[declared]?.repeatable)
      inputs[declared] = [...((inputs[declared] ?? []) as readonly string[]), value]
    else giveOnce(definition, inputs, declared, key, value)
    return
  }
  for (const { definition, inputs } of layers) {
    const settings = settingsOf(definition.params)
    const others = Object.entries(definition.params).find(([, parameter]) => parameter.others)?.[0]
    if (settings !== undefined) addSetting(inputs, settings, [key, value])
    else if (others !== undefined) {
      const before = (inputs[others] ?? {}) as Record<string, unknown>
      giveOnce(definition, before, key, key, value)
      inputs[others] = before
    } else continue
    return
  }
  const asked = layers.map(({ definition }) => `${definition.name} knows ${knownKeys(definition.params)}`)
  throw new ConfigError(`unknown parameter "${key}": ${asked.join('; ')}`)
}

function giveOnce(
  { name: layer, params }: PartialLayer['definition'],
  inputs: Record<string, unknown>,
  name: string,
  key: string,
  value: string,
) {
  if (Object.hasOwn(inputs, name)) {
    // The message may go to a log, which must not contain passwords.
    const values = params[name]?.secret ? '' : `: "${inputs[name]}" and "${value}"`
    throw new ConfigError(`${layer}: ${key} is given twice${values}`)
  }
  inputs[name] = value
}

function find(params: Readonly<Record<string, Param>>, key: string): string | undefined {
  return Object.entries(params).find(
    ([name, parameter]) => !parameter.others && !parameter.settings && keysOf(name, parameter).includes(key),
  )?.[0]
}
