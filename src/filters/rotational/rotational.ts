import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'

/** Says whether a disk is rotational (nbdkit-rotational-filter(1)). */
export default defineFilter({
  name: 'rotational',
  description: 'says that a disk spins, or that it does not',
  params: {
    rotational: param.boolean({ default: true, doc: 'Whether clients are told that the disk spins.' }),
  },
  threads: 'isolated',
  setup: ({ rotational }) => ({
    async open(request, next) {
      return { ...(await next(request)), rotational }
    },
  }),
})
