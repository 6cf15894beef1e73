import { HOLE, ZERO } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'
import { zeroes } from '../../api/zeroes.js'

/** A disk that has run out of space: it reads as zeroes, and every write fails (nbdkit-full-plugin(1)). */
export default definePlugin({
  name: 'full',
  description: 'reads as zeroes, every write fails for want of space',
  commandLine: { has: ['can_multi_conn', 'pwrite', 'trim', 'extents', 'cache'] },
  params: {
    size: param.size({ required: true, magic: true, doc: 'Size of the disk.' }),
  },
  threads: 'isolated',
  setup({ size }) {
    const refuse = (what: string, offset: number, length: number): never => {
      throw new NbdError('ENOSPC', `${what} ${length} at ${offset}: the disk is full`)
    }
    return {
      open: () => ({
        size,
        can: { multiConn: true },
        read: (_offset, length) => zeroes(length),
        // Without a `zero`, zeroes are written, and fail as well. Fast zeroing is refused as not supported.
        write: (offset, data) => refuse('write', offset, data.length),
        trim: (offset, length) => refuse('trim', offset, length),
        cache() {},
        // Report the whole rest at once, so that clients need not ask again.
        extents: (offset) => [{ length: size - offset, type: HOLE | ZERO }],
      }),
    }
  },
})
