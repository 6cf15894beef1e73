import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'

/** Limits how many requests run at once (nbdkit-noparallel-filter(1)). */
export default defineFilter({
  name: 'noparallel',
  description: 'limits requests to one at a time',
  params: {
    serialize: param.oneOf(['requests', 'all-requests', 'connections'], {
      default: 'requests',
      keys: ['serialize', 'serialise'],
      also: { all_requests: 'all-requests' },
      doc: 'What there is only one of at a time.',
    }),
  },
  setup: ({ serialize }) => ({
    concurrency: `serialize-${serialize}`,
    async open(request, next) {
      const device = await next(request)
      if (serialize !== 'connections') return device
      // A client that sees multi-conn would connect again and wait for itself.
      return { ...device, can: { ...device.can, multiConn: false } }
    },
  }),
})
