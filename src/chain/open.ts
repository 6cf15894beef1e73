/** Links the layers of a chain, inner to outer, when an export is opened; closes them outer to inner, once each. */
import type { Device, DeviceInit } from '../api/device.js'
import { messageOf } from '../api/errors.js'
import type { Log } from '../api/log.js'
import type { FilterInstance, OpenRequest, PluginInstance } from '../api/plugin.js'
import { complete } from './complete.js'
import type { Running } from './running.js'

/** A layer that has been set up. The last of a chain is the plugin, those before it are filters, outermost first. */
export interface Link {
  readonly name: string
  readonly instance: PluginInstance | FilterInstance
  readonly log: Log
}

/**
 * Opens `links[index]` and, as far as its filters ask, what is below. A filter may call `next` several times: each
 * device that it opened and did not close is closed after it, the last opened first.
 */
export async function openChain(
  links: readonly Link[],
  request: OpenRequest,
  running: Running,
  index = 0,
): Promise<Device> {
  const link = links[index]
  if (link === undefined) throw new Error('the chain has no plugin')
  const inners: Device[] = []
  const next = async (inner: OpenRequest): Promise<Device> => {
    const device = await openChain(links, inner, running, index + 1)
    inners.push(device)
    return device
  }
  try {
    if (link.log.debugging)
      link.log.debug(`open readonly=${Number(request.readOnly)} exportname="${request.exportName}"`)
    const isPlugin = index === links.length - 1
    const init = isPlugin
      ? await running.watch(link.name, 'open', openPlugin(link.instance as PluginInstance, request))
      : await running.watch(link.name, 'open', openFilter(link.instance as FilterInstance, request, next))
    const device = complete(link.name, init, inners.at(-1), running)
    return withClose(link, device, inners, running)
  } catch (error) {
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

/** Gives a device the `close` that ends this layer and then those below, whoever calls it and however often. */
function withClose(link: Link, device: Device, inners: readonly Device[], running: Running): Device {
  const ownClose = device.close
  let closing: Promise<void> | undefined
  const close = async () => {
    if (link.log.debugging) link.log.debug('close')
    try {
      await running.watch(link.name, 'close', (async () => ownClose())())
    } catch (error) {
      link.log.error(`close: ${messageOf(error)}`)
    }
    await closeAll(inners)
  }
  return { ...device, close: () => (closing ??= close()) }
}

async function closeAll(devices: readonly Device[]): Promise<void> {
  for (const device of [...devices].reverse()) await device.close()
}
