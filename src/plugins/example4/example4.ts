/**
 * A plugin to copy and change, in TypeScript: a disk in memory that all clients share.
 *
 * In a file of your own it needs one import: `import { ConfigError, definePlugin, param } from 'nbdkit-ts'`.
 * Then `nbdkit-ts ./mine.ts size=1M` runs it without a compiler.
 */
import { ConfigError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'

export default definePlugin({
  name: 'example4',
  description: 'a disk in memory, shared by all clients: a plugin to copy',
  commandLine: { has: ['can_multi_conn', 'pwrite', 'flush', 'zero'], lines: ['example4_extra=hello'] },
  params: {
    // Because `size` is required, its type below is number without undefined. In code that uses the plugin,
    // `example4({})` does not compile. On the command line, a missing size is an error.
    size: param.size({ required: true, doc: 'Size of the disk.' }),
  },
  setup({ size }, { log }) {
    // Objects made here are shared by all clients, and live as long as the server.
    const disk = allocate(size)
    if (log.debugging) log.debug(`a disk of ${size} bytes`)
    return {
      open: () => ({
        size,
        // A flush on one connection makes the writes of all connections durable, so a client may open
        // several.
        can: { multiConn: true },
        // Nothing interrupts a callback before its end or its next `await`, so no lock is needed.
        read: (offset, length) => disk.subarray(offset, offset + length),
        write: (offset, data) => disk.set(data, offset),
        // Memory has no durable storage to flush to.
        flush() {},
        // With this method, zeroing does not have to write zeroes.
        zero: (offset, length) => void disk.fill(0, offset, offset + length),
      }),
    }
  },
})

/** Allocates zeroes. Without enough memory, the user gets an error before any client connects. */
function allocate(size: number): Uint8Array {
  try {
    return new Uint8Array(size)
  } catch (error) {
    // The cause is for a log. The user sees only the message.
    throw new ConfigError(`example4: there is no memory for a disk of ${size} bytes`, { cause: error })
  }
}
