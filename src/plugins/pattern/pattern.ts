import { randomInt } from 'node:crypto'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'
import { blockBytes, type Fill, GeneratedBytes } from '../../lib/computed-data.js'

const upperBits = param.int({
  min: 0,
  max: 0xffff,
  default: 0,
  doc: 'XOR-ed with the top 16 bits of each 8 bytes, to tell one pattern from another; random: never 0.',
})

const chosen = (upper: number | 'random') => (upper === 'random' ? randomInt(1, 0x10000) : upper)

/** A disk in which each 8 bytes hold their own offset (nbdkit-pattern-plugin(1)). */
export default definePlugin({
  name: 'pattern',
  description: 'a read-only disk whose every 8 bytes are their own offset',
  commandLine: { has: ['can_multi_conn', 'cache'] },
  params: {
    size: param.size({ required: true, magic: true, doc: 'Size of the disk.' }),
    upper: {
      ...upperBits,
      placeholder: 'N|random',
      parse: (text: string): number | 'random' => (text === 'random' ? text : upperBits.parse(text)),
      check: (value: unknown) => (value === 'random' ? value : upperBits.check(value)),
    },
  },
  threads: { share: ({ upper }) => chosen(upper) },
  setup({ size, upper }, { shared }) {
    const bytes = new GeneratedBytes(offsets((shared as number | undefined) ?? chosen(upper)))
    return {
      open: () => ({
        size,
        can: { multiConn: true },
        read: (offset, length, alloc) => bytes.read(offset, length, alloc),
        cache() {},
      }),
    }
  },
})

/** Fills a block with offsets: 64 bits each, big-endian, with `upper` XOR-ed in. */
function offsets(upper: number): Fill {
  // Within a block only the low 12 bits differ. They are prepared in this machine's byte order, and so are
  // the other bits XOR-ed in, so the loop swaps nothing.
  const low = new Uint32Array(blockBytes / 4)
  const lowView = new DataView(low.buffer)
  for (let at = 0; at < blockBytes; at += 8) lowView.setUint32(at + 4, at)
  const base = new Uint32Array(2)
  const baseView = new DataView(base.buffer)
  return (block, offset) => {
    baseView.setUint32(0, Math.floor(offset / 2 ** 32) ^ (upper << 16))
    baseView.setUint32(4, offset % 2 ** 32)
    const [first = 0, second = 0] = base
    for (let at = 0; at < block.length; at += 2) {
      block[at] = first
      block[at + 1] = second ^ (low[at + 1] ?? 0)
    }
  }
}
