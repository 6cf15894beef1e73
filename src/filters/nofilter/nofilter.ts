import { defineFilter } from '../../api/plugin.js'

/** Does nothing (nbdkit-nofilter-filter(1)). */
export default defineFilter({
  name: 'nofilter',
  description: 'passes every request on, unchanged',
  params: {},
  threads: 'isolated',
  setup: () => ({}),
})
