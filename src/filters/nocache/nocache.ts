import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'

/** Hides, emulates or ignores a device's handling of cache requests (nbdkit-nocache-filter(1)). */
export default defineFilter({
  name: 'nocache',
  description: 'hides, emulates or ignores cache requests',
  params: {
    mode: param.oneOf(['none', 'emulate', 'nop'], {
      default: 'none',
      keys: ['cachemode', 'cache-mode'],
      also: { 'no-op': 'nop' },
      doc: 'What becomes of a cache request.',
    }),
  },
  threads: 'isolated',
  setup: ({ mode }) => ({
    async open(request, next) {
      const device = await next(request)
      const can = { ...device.can, cache: mode === 'nop' ? ('native' as const) : mode }
      return mode === 'nop' ? { ...device, can, cache() {} } : { ...device, can }
    },
  }),
})
