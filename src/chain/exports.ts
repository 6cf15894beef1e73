/** What a chain offers: its list of exports, and what an empty name stands for. */
import type { MaybePromise } from '../api/maybe.js'
import type { Export, FilterInstance, OpenRequest, PluginInstance } from '../api/plugin.js'
import { exportsMax } from '../protocol/limits.js'
import type { Link } from './open.js'
import type { Running } from './running.js'

/** The exports that a client may see, at most `exportsMax` of them. */
export async function listExports(
  links: readonly Link[],
  request: OpenRequest,
  running: Running,
): Promise<readonly Export[]> {
  const layer = (index: number, of: OpenRequest): MaybePromise<Iterable<Export>> => {
    const link = links[index]
    if (link === undefined || (index === links.length - 1 && !link.instance.exports))
      return defaultExport(links, of, running).then((name) => [{ name }])
    const next = (inner: OpenRequest) => layer(index + 1, inner)
    if (!link.instance.exports) return next(of)
    const { instance } = link as { instance: FilterInstance }
    const call = async () => checked(link.name, await instance.exports?.(of, next))
    return running.at(index).watch(link.name, 'exports', call())
  }
  return [...(await layer(0, request))]
}

/** A list, whatever a layer gave, or an error that names the layer. */
function checked(layer: string, given: unknown): readonly Export[] {
  if (typeof given !== 'object' || given === null || !(Symbol.iterator in given))
    throw new Error(`${layer}: exports returned ${typeof given} in place of a list`)
  const exports: Export[] = []
  for (const item of given as Iterable<Partial<Export> | undefined>) {
    if (exports.length === exportsMax) break
    if (typeof item?.name !== 'string' || typeof (item.description ?? '') !== 'string')
      throw new Error(`${layer}: exports returned a list with ${JSON.stringify(item)} in it`)
    exports.push(item as Export)
  }
  return exports
}

/** What each client was told: one that looks at an export and then opens it asks with each option. */
const told = new WeakMap<OpenRequest['connection'], Promise<string>>()

/**
 * The name that an empty name stands for: empty again where no layer knows better. The layers are asked once
 * for each client.
 */
export function defaultExport(
  links: readonly Link[],
  request: OpenRequest,
  running: Running,
): Promise<string> {
  const { connection } = request
  const before = told.get(connection)
  if (before !== undefined) return before
  const name = askDefaultExport(links, request, running)
  // Where a layer opens a device itself, there is no client.
  if (connection.id !== 0) {
    told.set(connection, name)
    // It may know the next time.
    name.catch(() => told.delete(connection))
  }
  return name
}

async function askDefaultExport(
  links: readonly Link[],
  request: OpenRequest,
  running: Running,
): Promise<string> {
  const layer = (index: number, of: OpenRequest): MaybePromise<string> => {
    const link = links[index]
    if (link === undefined) return ''
    const next = (inner: OpenRequest) => layer(index + 1, inner)
    if (!link.instance.defaultExport) return next(of)
    const instance = link.instance as FilterInstance & PluginInstance
    return running
      .at(index)
      .watch(link.name, 'defaultExport', (async () => instance.defaultExport?.(of, next) ?? '')())
  }
  return layer(0, request)
}
