import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'

/** Says whether a disk is rotational (nbdkit-rotational-filter(1)). */
export default defineFilter({
  name: 'rotational',
  description: 'says that a disk is rotational, or that it is not',
  params: {
    rotational: param.boolean({
      default: true,
      doc: 'Whether clients are told that the disk is rotational.',
    }),
  },
  threads: 'isolated',
  setup: ({ rotational }) => ({
    async open(request, next) {
      const device = await next(request)
      return { ...device, rotational }
    },
  }),
})
