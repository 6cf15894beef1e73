import type { Connection } from '../../api/connection.js'
import { defineFilter } from '../../api/plugin.js'

/** Stops the server when the last client has disconnected (nbdkit-exitlast-filter(1)). */
export default defineFilter({
  name: 'exitlast',
  description: 'stops the server when the last client disconnects',
  params: {},
  setup(_values, server) {
    /**
     * Clients that reached an export. A client that only listed exports neither keeps the server running nor
     * stops it.
     */
    const clients = new Set<Connection>()
    return {
      async open(request, next) {
        const device = await next(request)
        const { connection } = request
        if (connection.id === 0 || clients.has(connection)) return device
        clients.add(connection)
        // Wait for the connection and not for the device: the client may open another device (NBD_OPT_INFO,
        // then NBD_OPT_GO for another export).
        void connection.closed.then(() => {
          clients.delete(connection)
          if (clients.size === 0) server.shutdown()
        })
        return device
      },
    }
  },
})
