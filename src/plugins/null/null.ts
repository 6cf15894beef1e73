import { HOLE, ZERO } from '../../api/device.js'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'
import { zeroes } from '../../api/zeroes.js'

/** A bit bucket: writes are discarded, reads return zeroes (nbdkit-null-plugin(1)). */
export default definePlugin({
  name: 'null',
  description: 'discards what is written, reads as zeroes',
  commandLine: {
    has: [
      'can_fast_zero',
      'can_fua',
      'can_multi_conn',
      'pwrite',
      'flush',
      'trim',
      'zero',
      'extents',
      'cache',
    ],
  },
  params: {
    size: param.size({ default: 0, magic: true, doc: 'Size of the disk.' }),
  },
  threads: 'isolated',
  setup({ size }) {
    return {
      open: () => ({
        size,
        can: { multiConn: true, fua: 'native', fastZero: true },
        read: (_offset, length) => zeroes(length),
        write() {},
        flush() {},
        trim() {},
        zero() {},
        cache() {},
        extents: (offset) => [{ length: size - offset, type: HOLE | ZERO }],
      }),
    }
  },
})
