import { around } from '../../api/around.js'
import type { Device } from '../../api/device.js'
import { defineFilter, type OpenRequest, type ReadyContext } from '../../api/plugin.js'
import { oneAtATime } from '../../lib/one-at-a-time.js'

/** Opens each export of the layer below once, for all clients (nbdkit-openonce-filter(1)). */
export default defineFilter({
  name: 'openonce',
  description: 'opens each export once, for all clients, and keeps it open',
  params: {},
  setup() {
    /** In the order they were opened. */
    const shared = new Map<string, Promise<Device>>()
    let below: ReadyContext | undefined

    const openShared = (request: OpenRequest): Promise<Device> => {
      const key = keyOf(request)
      const before = shared.get(key)
      if (before !== undefined) return before
      if (below === undefined) throw new Error('openonce: a client came before the filter was ready')
      const { exportName, readOnly, tls } = request
      const { concurrency } = below
      const device = below
        .open({ exportName, readOnly, tls })
        .then((opened) => (concurrency === 'serialize-requests' ? serialized(opened) : opened))
      shared.set(key, device)
      // The next client tries again.
      device.catch(() => shared.delete(key))
      return device
    }

    return {
      ready(context) {
        below = context
      },
      async open(request) {
        // Each client closes its own device, and not the shared one.
        return { ...(await openShared(request)), close() {} }
      },
      async close() {
        for (const opened of await Promise.allSettled(shared.values()))
          if (opened.status === 'fulfilled') await opened.value.close()
      },
    }
  },
})

function keyOf({ exportName, readOnly, tls }: OpenRequest): string {
  return JSON.stringify([readOnly, tls, exportName])
}

/**
 * A layer with `serialize-requests` expects one request at a time on each device. The server keeps that
 * promise for each connection, and here several connections share a device.
 */
function serialized(device: Device): Device {
  const queue = oneAtATime()
  return around(device, (_command, proceed) => queue(proceed))
}
