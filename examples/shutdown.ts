/**
 * A disk that stops its own server. Serve it: `bin/nbdkit-ts ./examples/shutdown.ts`
 * It stops when a client writes `stop` at offset 0, or asks for an export of the name `stop`.
 */
import { definePlugin, NbdError } from 'nbdkit-ts'

const size = 2 ** 20

export default definePlugin({
  name: 'shutdown',
  description: 'stops the server when a client says so',
  params: {},
  setup(_values, server) {
    const disk = new Uint8Array(size)
    return {
      open({ exportName }) {
        if (exportName === 'stop') {
          server.shutdown()
          throw new NbdError('ESHUTDOWN', 'the server stops now')
        }
        return {
          size,
          read: (offset, length) => disk.subarray(offset, offset + length),
          write(offset, data) {
            disk.set(data, offset)
            // It returns at once: this write is still answered.
            if (Buffer.from(disk.buffer, 0, 4).equals(Buffer.from('stop'))) server.shutdown()
          },
        }
      },
    }
  },
})
