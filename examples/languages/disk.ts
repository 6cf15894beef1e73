/** A disk in memory. What is written may be a word to the server: soft, force, refuse or shutdown. */
import { definePlugin, NbdError } from 'nbdkit-ts'

export default definePlugin({
  name: 'disk',
  description: 'a disk that drops its client, or stops the server, when it is told to',
  params: {},
  setup(_, server) {
    const disk = Buffer.alloc(1024 * 1024)
    return {
      open: ({ connection }) => ({
        size: disk.length,
        read: (offset, length) => disk.subarray(offset, offset + length),
        flush() {},
        write(offset, data) {
          const says = (word: string) => Buffer.from(data).subarray(0, word.length).toString() === word
          if (says('shutdown')) server.shutdown()
          else if (says('force')) connection.disconnect(true)
          else if (says('soft')) connection.disconnect(false)
          else if (says('refuse')) {
            connection.disconnect(false)
            throw new NbdError('ESHUTDOWN', 'the disk takes no more')
          } else disk.set(data, offset)
        },
      }),
    }
  },
})
