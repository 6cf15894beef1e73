/**
 * A plugin to copy and change, in TypeScript alone: a disk in memory that all clients share.
 *
 * As a file of your own it needs one import: `import { ConfigError, definePlugin, param } from 'nbdkit-ts'`.
 * `nbdkit-ts ./mine.ts size=1M` then runs it as it is, without a compiler.
 */
import { ConfigError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'

export default definePlugin({
  name: 'example4',
  description: 'a disk in memory, shared by all clients: a plugin to copy',
  commandLine: { has: ['can_multi_conn', 'pwrite', 'flush', 'zero'], lines: ['example4_extra=hello'] },
  params: {
    // The type of `size` below is number, and not undefined, because it is required. In code that uses the
    // plugin, `example4({})` does not compile; on the command line, its absence is an error.
    size: param.size({ required: true, doc: 'Size of the disk.' }),
  },
  setup({ size }, { log }) {
    // What is made here is shared by all clients, and gone when the server is.
    const disk = allocate(size)
    if (log.debugging) log.debug(`a disk of ${size} bytes`)
    return {
      open: () => ({
        size,
        // What a flush on one connection makes durable, it makes durable for all: clients may open several.
        can: { multiConn: true },
        // Nothing interrupts a callback before its end or its next `await`: there is nothing to lock.
        read: (offset, length) => disk.subarray(offset, offset + length),
        write: (offset, data) => disk.set(data, offset),
        // Memory is as durable as it will ever be.
        flush() {},
        // With a method of its own, zeroing needs no zeroes to be written.
        zero: (offset, length) => void disk.fill(0, offset, offset + length),
      }),
    }
  },
})

/** All zeroes. Without so much memory the user is told, before any client connects. */
function allocate(size: number): Uint8Array {
  try {
    return new Uint8Array(size)
  } catch (error) {
    // The cause is for a log; the message alone is what the user sees.
    throw new ConfigError(`example4: there is no memory for a disk of ${size} bytes`, { cause: error })
  }
}
