/** The exports of a chain: its list of exports, and the default export's name. */
import type { MaybePromise } from '../api/maybe.js'
import type { Export, FilterInstance, OpenRequest, PluginInstance } from '../api/plugin.js'
import { exportsMax } from '../protocol/limits.js'
import type { Link } from './open.js'
import type { Running } from './running.js'

/** The exports that a client may see, at most `exportsMax`. */
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
    const ask = () => defaultExport(links, of, running)
    const call = async () => checked(link.name, await instance.exports?.(of, next, ask))
    return running.at(index).watch(link.name, 'exports', call())
  }
  return [...(await layer(0, request))]
}

/** Returns a layer's result as a list. Throws an error that names the layer where the result is none. */
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

/**
 * The name given to each client. A client that looks at an export and then opens it asks with each option.
 */
const told = new WeakMap<OpenRequest['connection'], Promise<string>>()

/** The default export's name; empty where no layer has one. The layers are asked once for each client. */
export function defaultExport(
  links: readonly Link[],
  request: OpenRequest,
  running: Running,
): Promise<string> {
  const { connection } = request
  const before = told.get(connection)
  if (before !== undefined) return before
  const name = askDefaultExport(links, request, running)
  // A layer that opens a device itself has no client.
  if (connection.id !== 0) {
    told.set(connection, name)
    // The layer may succeed the next time.
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
