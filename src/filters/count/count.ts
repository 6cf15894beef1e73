import { isPromise, type MaybePromise } from '../../api/maybe.js'
import { defineFilter } from '../../api/plugin.js'

/** Counts bytes and logs the totals at the end (nbdkit-count-filter(1)). */
export default defineFilter({
  name: 'count',
  description: 'counts the bytes that are read, written, zeroed and trimmed',
  params: {},
  setup(_values, { log }) {
    const bytes = { read: 0, written: 0, zeroed: 0, trimmed: 0 }
    /** Counts a result. Failed requests do not count. */
    const count = <T>(what: keyof typeof bytes, length: number, result: MaybePromise<T>): MaybePromise<T> => {
      if (isPromise(result))
        return result.then((value) => {
          bytes[what] += length
          return value
        })
      bytes[what] += length
      return result
    }
    return {
      async open(request, next) {
        const device = await next(request)
        return {
          ...device,
          read: (offset, length, alloc) => count('read', length, device.read(offset, length, alloc)),
          write: (offset, data, flags) => count('written', data.length, device.write(offset, data, flags)),
          zero: (offset, length, flags) => count('zeroed', length, device.zero(offset, length, flags)),
          trim: (offset, length, flags) => count('trimmed', length, device.trim(offset, length, flags)),
        }
      },
      close() {
        if (!log.debugging) return
        const { read, written, zeroed, trimmed } = bytes
        log.debug(`count bytes: read ${read}, written ${written}, zeroed ${zeroed}, trimmed ${trimmed}`)
      },
    }
  },
})
