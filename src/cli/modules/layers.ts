/** The layers that a command line names, with their values. */
import type { FilterDefinition, Layer, PluginDefinition } from '../../api/plugin.js'
import { type Configured, configure } from '../../chain/configure.js'
import { type Found, findLayer } from './modules.js'

/** The words of the command line, in a form that can be sent to another thread. */
export interface LayerWords {
  readonly plugin: string
  /** Outermost first. */
  readonly filters: readonly string[]
  /** The words after the plugin's name. */
  readonly parameters: readonly string[]
}

/** @throws ConfigError for a layer that is not found, and for a parameter that no layer takes. */
export async function loadLayers({ plugin, filters, parameters }: LayerWords): Promise<Configured> {
  const above = await findAll('filter', filters)
  const bottom = await findLayer('plugin', plugin)
  const definitions = above.map(({ definition }) => definition)
  return configure(bottom.definition, definitions, [...bottom.words, ...parameters])
}

export async function findAll<K extends 'plugin' | 'filter'>(kind: K, words: readonly string[]) {
  const found: Found<K extends 'plugin' ? PluginDefinition : FilterDefinition>[] = []
  for (const word of words) found.push(await findLayer(kind, word))
  return found
}

/** Outermost first, with the plugin last. */
export function allLayers({ filters, plugin }: Configured): readonly Layer[] {
  return [...filters, plugin]
}
