import { defineFilter } from '../../api/plugin.js'

/** Hides which parts of a disk are holes (nbdkit-noextents-filter(1)). */
export default defineFilter({
  name: 'noextents',
  description: 'reports the whole disk as data',
  params: {},
  threads: 'isolated',
  setup: () => ({
    async open(request, next) {
      const device = await next(request)
      return { ...device, can: { ...device.can, extents: false } }
    },
  }),
})
