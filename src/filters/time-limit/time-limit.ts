import type { Connection } from '../../api/connection.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'

/** What a client is left to say goodbye, after its last reply, before it is dropped. */
const lingerMs = 1000

/** Limits how long a client may stay connected (nbdkit-time-limit-filter(1)). */
export default defineFilter({
  name: 'time-limit',
  description: 'limits how long a client may stay connected',
  params: {
    limit: param.delay({
      default: 60_000,
      keys: ['time-limit', 'time_limit', 'timelimit'],
      doc: 'How long a client may stay; 0: as long as it likes.',
    }),
  },
  workers: true,
  setup({ limit }) {
    if (limit === 0) return {}
    /** When each client must go, by `performance.now()`, also when its device is closed and opened again. */
    const deadlines = new WeakMap<Connection, number>()
    return {
      async open(request, next) {
        const device = await next(request)
        const { connection } = request
        // What a layer opened for itself, without a client, stays.
        if (connection.id === 0) return device
        const now = performance.now()
        const deadline = deadlines.get(connection) ?? now + limit
        deadlines.set(connection, deadline)
        const end = () => {
          connection.disconnect(false, { lingerMs })
          // Until every layer is open a disconnect does nothing: try again shortly.
          if (connection.state !== 'draining') timer = setTimeout(end, 100).unref()
        }
        let timer = setTimeout(end, Math.round(deadline - now)).unref()
        return { ...device, close: () => clearTimeout(timer) }
      },
    }
  },
})
