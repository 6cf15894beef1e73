/** Sets up the layers of a server, and ends them. */
import { logMessageOf, stackLinesOf } from '../api/error-text.js'
import { ConfigError } from '../api/errors.js'
import type { Log } from '../api/log.js'
import { namesOf, unknownMember } from '../api/members.js'
import { resolveValues } from '../api/params.js'
import type { Concurrency, Layer, OpenRequest, PluginInstance, ServerContext } from '../api/plugin.js'
import { inProcess, type ProcessContext } from '../api/process-context.js'
import { type Link, openChain } from './open.js'
import type { Running } from './running.js'

/** The layers of a server, ready to be opened. */
export interface Chain {
  /** Outermost first, with the plugin last. */
  readonly links: readonly Link[]
  /** The strictest of all layers. */
  readonly concurrency: Concurrency
}

export interface SetUpOptions {
  readonly context: Partial<Omit<ServerContext, 'log' | 'shared'>>
  readonly process?: Partial<ProcessContext>
  readonly log: Log
  readonly running: Running
  /** Rejects when an unsettled layer is no longer waited for. */
  readonly late?: Promise<never>
  /** The shared values by layer, for a server that is one of several threads. */
  readonly shared?: readonly unknown[]
}

/**
 * Sets up every layer, the plugin first. Ends the layers already set up when a later one refuses.
 *
 * @throws ConfigError, or the error of a layer.
 */
export async function setUp(
  layers: readonly Layer[],
  { context, process = {}, log, running, late, shared = [] }: SetUpOptions,
): Promise<Chain> {
  const links: Link[] = []
  try {
    for (const [depth, layer] of [...layers.entries()].reverse()) {
      const { definition } = layer
      const layerLog = log.child(definition.name)
      const values = resolveValues(definition.name, definition.params, layer.inputs)
      const own = inProcess({ ...noServer, ...context, log: layerLog, shared: shared[depth] }, process)
      const setup = async () => definition.setup(values, own)
      const setting = running.at(depth).watch(definition.name, 'setup', setup())
      const instance = await inTime(setting, late).catch((error: unknown) => {
        // A layer whose set-up finishes later has to be closed.
        endLate(setting, definition.name, layerLog, running)
        throw error
      })
      checkInstance(layer, instance)
      links.unshift({ name: definition.name, instance, log: layerLog })
    }
    const asked = [...layers.map(({ definition }) => definition), ...links.map(({ instance }) => instance)]
    return { links, concurrency: strictest(asked.map(({ concurrency = 'parallel' }) => concurrency)) }
  } catch (error) {
    await endAll(links, running)
    throw error
  }
}

const instanceMembers = namesOf<PluginInstance>({
  ...{ concurrency: true, ready: true, accept: true, exports: true, defaultExport: true },
  ...{ open: true, close: true },
})

/** A filter may leave `open` to the layer below. A plugin has no layer below. */
function checkInstance({ kind, definition: { name } }: Layer, instance: unknown): void {
  if (typeof instance !== 'object' || instance === null)
    throw new ConfigError(
      `${name}: setup returned ${instance === null ? 'null' : typeof instance}: expected an object, as { open(request) { … } }`,
    )
  const open: unknown = Reflect.get(instance, 'open')
  if (typeof open !== 'function' && !(kind === 'filter' && open === undefined))
    throw new ConfigError(
      `${name}: what setup returned has no open: add open(request) { return { size, read } }`,
    )
  const unknown = unknownMember(instance, instanceMembers)
  if (unknown) throw new ConfigError(`${name}: what setup returned: ${unknown}`)
}

/**
 * Calls `ready` of each layer, the plugin first, so that devices which a filter opens there are ready
 * themselves.
 */
export async function makeReady(
  { links, concurrency }: Chain,
  readOnly: boolean,
  running: Running,
  late?: Promise<never>,
): Promise<void> {
  for (const [index, { name, instance }] of [...links.entries()].reverse()) {
    const open = (request: Partial<OpenRequest> = {}) =>
      openChain(
        links,
        { exportName: '', readOnly, tls: false, connection: noConnection, ...request },
        running,
        index + 1,
      )
    if (instance.ready)
      await inTime(
        running.watch(name, 'ready', (async () => instance.ready?.({ open, concurrency }))()),
        late,
      )
  }
}

function inTime<T>(settling: Promise<T>, late: Promise<never> | undefined): Promise<T> {
  return late ? Promise.race([settling, late]) : settling
}

function endLate(setting: Promise<Link['instance']>, name: string, log: Log, running: Running): void {
  setting.then(
    (instance) => endAll([{ name, instance, log }], running),
    // The set-up failed, so there is nothing to close.
    () => {},
  )
}

/** Calls `close` of each layer, outer to inner, once. An error is logged, and the others are still closed. */
export async function endAll(links: readonly Link[], running: Running): Promise<void> {
  for (const { name, instance, log } of links) {
    try {
      await running.watch(name, 'close', (async () => instance.close?.())())
    } catch (error) {
      log.error(`close: ${logMessageOf(error)}${log.debugging ? stackLinesOf(error) : ''}`)
    }
  }
}

/** From the strictest to the loosest. */
const concurrencies: readonly Concurrency[] = [
  'serialize-connections',
  'serialize-all-requests',
  'serialize-requests',
  'parallel',
]

export function strictest(asked: readonly Concurrency[]): Concurrency {
  const unknown = asked.find((concurrency) => !concurrencies.includes(concurrency))
  if (unknown !== undefined)
    throw new ConfigError(`unknown concurrency "${unknown}": expected one of ${concurrencies.join(', ')}`)
  return concurrencies.find((concurrency) => asked.includes(concurrency)) ?? 'parallel'
}

/** The context of a layer without a server: for a test, or to describe the layer. */
export const noServer: Omit<ServerContext, 'log' | 'shared'> = Object.freeze({
  readOnly: false,
  stopping: new AbortController().signal,
  shutdown() {},
})

const nobody = {
  id: 0,
  peer: { family: 'stream' },
  state: 'transmission',
  exportName: '',
  readOnly: false,
  tls: false,
  requests: 0,
  bytesRead: 0,
  bytesWritten: 0,
} as const

/** The connection of a device that was opened without a client. */
export const noConnection: OpenRequest['connection'] = Object.freeze({
  ...nobody,
  since: new Date(0),
  signal: new AbortController().signal,
  closed: new Promise<void>(() => {}),
  disconnect: () => false,
  toJSON: () => ({ ...nobody, since: new Date(0).toISOString() }),
})
