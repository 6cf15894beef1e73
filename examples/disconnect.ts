/**
 * Drops a client at its first write. Serve it: `bin/nbdkit-ts ./examples/disconnect.ts`
 * A client of the export `soft` has its write answered, and from then on only ESHUTDOWN.
 * A client of the export `force` is cut off.
 */
import { definePlugin, NbdError } from 'nbdkit-ts'

const size = 2 ** 20
const names = ['soft', 'force']

export default definePlugin({
  name: 'disconnect',
  description: 'drops a client at its first write',
  params: {},
  setup: () => ({
    exports: () => names.map((name) => ({ name })),
    defaultExport: () => 'soft',
    open({ exportName, connection }) {
      if (!names.includes(exportName))
        throw new NbdError('EINVAL', `there is no export "${exportName}": ask for ${names.join(' or ')}`)
      const disk = new Uint8Array(size)
      return {
        size,
        read: (offset, length) => disk.subarray(offset, offset + length),
        write(offset, data) {
          disk.set(data, offset)
          connection.disconnect(exportName === 'force')
        },
      }
    },
  }),
})
