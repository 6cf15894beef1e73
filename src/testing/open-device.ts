import type { Device } from '../api/device.js'
import { silentLog } from '../api/log.js'
import type { Layer, OpenRequest } from '../api/plugin.js'
import { openChain } from '../chain/open.js'
import { Running } from '../chain/running.js'
import { endAll, makeReady, noConnection, setUp } from '../chain/setup.js'

/**
 * Sets a plugin and its filters (outermost first) up and opens one device, without a server or a socket.
 * Its `close` also ends the layers.
 *
 * @example const device = await openDevice(memory({ size: '1M' }), [offset({ offset: 512 })])
 */
export async function openDevice(
  plugin: Layer<'plugin'>,
  filters: readonly Layer<'filter'>[] = [],
  request: Partial<OpenRequest> & { readonly onShutdown?: () => void } = {},
): Promise<Device> {
  const running = new Running()
  const readOnly = request.readOnly ?? false
  const shutdown = request.onShutdown ?? (() => {})
  const chain = await setUp([...filters, plugin], {
    context: { readOnly, shutdown },
    log: silentLog,
    running,
  })
  const { links } = chain
  const defaults = { exportName: '', readOnly, tls: false, connection: noConnection }
  try {
    await makeReady(chain, readOnly, running)
    const device = await openChain(links, { ...defaults, ...request }, running)
    return {
      ...device,
      async close() {
        await device.close()
        await endAll(links, running)
      },
    }
  } catch (error) {
    await endAll(links, running)
    throw error
  }
}
