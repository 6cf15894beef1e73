/**
 * Links the layers of a chain from inner to outer when an export is opened. Closes them from outer to inner,
 * once each.
 */
import type { Device, DeviceInit } from '../api/device.js'
import { logMessageOf, stackLinesOf } from '../api/error-text.js'
import type { Log } from '../api/log.js'
import type { FilterInstance, OpenRequest, PluginInstance } from '../api/plugin.js'
import { blamed } from './blame.js'
import { complete } from './complete.js'
import { originOf } from './origins.js'
import type { Running, Watcher } from './running.js'

/**
 * A layer that was set up. The last of a chain is the plugin; filters stand before the plugin, outermost
 * first.
 */
export interface Link {
  readonly name: string
  readonly instance: PluginInstance | FilterInstance
  readonly log: Log
}

/**
 * Opens `links[depth]` and, as far as its filters ask, the layers below. A filter may call `next` several
 * times. Each device it opened and did not close is closed after it, the last opened first.
 */
export async function openChain(
  links: readonly Link[],
  request: OpenRequest,
  running: Running,
  depth = 0,
): Promise<Device> {
  const link = links[depth]
  if (link === undefined) throw new Error('the chain has no plugin')
  const { name, instance, log } = link
  const watcher = running.at(depth)
  const inners: Device[] = []
  const next = async (inner: OpenRequest): Promise<Device> => {
    const device = await openChain(links, inner, running, depth + 1)
    inners.push(device)
    return device
  }
  if (log.debugging)
    log.debug(`open readonly=${Number(request.readOnly)} exportname="${request.exportName}"`, 'controlpath')
  const isPlugin = depth === links.length - 1
  let init: DeviceInit | undefined
  try {
    init = isPlugin
      ? await watcher.watch(name, 'open', openPlugin(instance as PluginInstance, request))
      : await watcher.watch(name, 'open', openFilter(instance as FilterInstance, request, next))
    return withClose(link, complete(name, isPlugin ? 'plugin' : 'filter', init, watcher), inners, watcher)
  } catch (error) {
    blamed(error, name, 'open')
    // Close what was opened, even where it is no valid device.
    const close = init?.close
    if (init && typeof close === 'function' && close !== originOf(init)?.close)
      await closeLayer(link, close.bind(init), watcher)
    await closeAll(inners)
    throw error
  }
}

async function openPlugin(plugin: PluginInstance, request: OpenRequest): Promise<DeviceInit> {
  return plugin.open(request)
}

async function openFilter(
  filter: FilterInstance,
  request: OpenRequest,
  next: (request: OpenRequest) => Promise<Device>,
): Promise<DeviceInit> {
  return filter.open ? filter.open(request, next) : next(request)
}

/** Gives a device a `close` that ends this layer and then those below, once, however often it is called. */
function withClose(link: Link, device: Device, inners: readonly Device[], watcher: Watcher): Device {
  let closing: Promise<void> | undefined
  const own = device.close
  const close = async () => {
    if (link.log.debugging) link.log.debug('close', 'controlpath')
    await closeLayer(link, own, watcher)
    await closeAll(inners)
  }
  // Changed in place: a copy would cost a connection more than the rest of this function.
  return Object.assign(device, { close: () => (closing ??= close()) })
}

async function closeLayer({ name, log }: Link, close: Device['close'], watcher: Watcher): Promise<void> {
  try {
    await watcher.watch(name, 'close', (async () => close())())
  } catch (error) {
    log.error(`close: ${logMessageOf(error)}${log.debugging ? stackLinesOf(error) : ''}`)
  }
}

async function closeAll(devices: readonly Device[]): Promise<void> {
  for (const device of [...devices].reverse()) await device.close()
}
