import { ConfigError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { slice } from '../../lib/slice.js'

/** Serves a byte range of the disk below (nbdkit-offset-filter(1)). */
export default defineFilter({
  name: 'offset',
  description: 'serves a range of the disk below',
  params: {
    offset: param.size({ default: 0, doc: 'Where the range starts.' }),
    range: param.size({ doc: 'Length of the range; to the end of the disk unless given.' }),
  },
  threads: 'isolated',
  setup: ({ offset, range }) => ({
    async open(request, next) {
      const device = await next(request)
      const size = range ?? device.size - offset
      if (size < 0 || offset + size > device.size)
        throw new ConfigError(
          `offset: ${range === undefined ? `offset ${offset}` : `a range of ${range} bytes at ${offset}`} ` +
            `ends beyond the disk below, which has ${device.size} bytes`,
        )
      return slice(device, { offset, size })
    },
  }),
})
