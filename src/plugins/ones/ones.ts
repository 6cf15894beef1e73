import type { Data } from '../../api/device.js'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'
import { zeroes } from '../../api/zeroes.js'

/** One page of the byte is lent out repeatedly. In bytes: the page should stay in the processor's cache. */
const pageBytes = 256 * 1024

/** A disk of one repeated byte. Writes are discarded (nbdkit-ones-plugin(1)). */
export default definePlugin({
  name: 'ones',
  description: 'discards what is written, reads as the byte 0xff or another',
  commandLine: {
    has: ['can_fast_zero', 'can_fua', 'can_multi_conn', 'pwrite', 'flush', 'trim', 'zero', 'cache'],
  },
  params: {
    size: param.size({ default: 0, magic: true, doc: 'Size of the disk.' }),
    byte: param.int({ min: 0, max: 255, default: 0xff, doc: 'What every byte of the disk is.' }),
  },
  threads: 'isolated',
  setup({ size, byte }) {
    const page = new Uint8Array(pageBytes).fill(byte)
    return {
      open: () => ({
        size,
        can: { multiConn: true, fua: 'native', fastZero: true },
        read: (_offset, length) => (byte === 0 ? zeroes(length) : repeated(page, length)),
        write() {},
        flush() {},
        trim() {},
        zero() {},
        cache() {},
      }),
    }
  },
})

/** Views of the page, `length` bytes in all. */
function repeated(page: Uint8Array, length: number): Data {
  if (length <= page.length) return page.subarray(0, length)
  const parts: Uint8Array[] = new Array(Math.floor(length / page.length)).fill(page)
  const rest = length % page.length
  if (rest > 0) parts.push(page.subarray(0, rest))
  return parts
}
