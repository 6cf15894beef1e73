import type { Connection } from '../../api/connection.js'
import { NbdError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'

/** Limits the number of clients (nbdkit-limit-filter(1)). */
export default defineFilter({
  name: 'limit',
  description: 'limits how many clients may be connected',
  params: {
    limit: param.int({ default: 1, max: 2 ** 32 - 1, doc: 'The most clients at once; 0 is no limit.' }),
  },
  setup({ limit }) {
    /** The number of open exports of each client that has any. */
    const clients = new Map<Connection, number>()
    const check = (connection: Connection) => {
      if (limit > 0 && clients.size >= limit && !clients.has(connection))
        throw new NbdError('ESHUTDOWN', `limit: ${clients.size} clients are connected, which is the limit`)
    }
    return {
      accept: check,
      async open(request, next) {
        const { connection } = request
        const device = await next(request)
        // Others may have opened an export since this client connected.
        check(connection)
        clients.set(connection, (clients.get(connection) ?? 0) + 1)
        return {
          ...device,
          close() {
            const left = (clients.get(connection) ?? 0) - 1
            if (left > 0) clients.set(connection, left)
            else clients.delete(connection)
          },
        }
      },
    }
  },
})
