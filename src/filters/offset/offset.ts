import { ConfigError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'

/** Serves a byte range of what is below (nbdkit-offset-filter(1)). */
export default defineFilter({
  name: 'offset',
  description: 'serves a range of the disk below',
  params: {
    offset: param.size({ default: 0, doc: 'Where the range starts.' }),
    range: param.size({ doc: 'Length of the range; to the end of the disk unless given.' }),
  },
  workers: true,
  setup: ({ offset, range }) => ({
    async open(request, next) {
      const device = await next(request)
      const size = range ?? device.size - offset
      if (size < 0 || offset + size > device.size)
        throw new ConfigError(
          `offset: ${range === undefined ? `offset ${offset}` : `a range of ${range} bytes at ${offset}`} ` +
            `ends beyond the disk below, which has ${device.size} bytes`,
        )
      return {
        ...device,
        size,
        read: (at, length, alloc) => device.read(offset + at, length, alloc),
        write: (at, data, flags) => device.write(offset + at, data, flags),
        window: (at, length) => device.window(offset + at, length),
        trim: (at, length, flags) => device.trim(offset + at, length, flags),
        zero: (at, length, flags) => device.zero(offset + at, length, flags),
        cache: (at, length) => device.cache(offset + at, length),
        extents: (at, length) => device.extents(offset + at, length),
        contexts: Object.fromEntries(
          Object.entries(device.contexts).map(([name, runs]) => [
            name,
            (at, length) => runs(offset + at, length),
          ]),
        ),
      }
    },
  }),
})
