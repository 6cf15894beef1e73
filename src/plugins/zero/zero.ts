import { definePlugin } from '../../api/plugin.js'
import { zeroes } from '../../api/zeroes.js'

/** A disk of no bytes (nbdkit-zero-plugin(1)). */
export default definePlugin({
  name: 'zero',
  description: 'a disk of no bytes',
  commandLine: { has: ['can_multi_conn', 'cache'] },
  params: {},
  threads: 'isolated',
  setup: () => ({
    open: () => ({
      size: 0,
      can: { multiConn: true },
      // Never called: there is nothing to read.
      read: (_offset, length) => zeroes(length),
      cache() {},
    }),
  }),
})
