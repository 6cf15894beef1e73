import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'
import { allocators, ramDisk } from '../../lib/ram-disk.js'

/** A RAM disk that all clients share (nbdkit-memory-plugin(1)). */
export default definePlugin({
  name: 'memory',
  description: 'a disk in memory, shared by all clients',
  params: {
    size: param.size({ required: true, magic: true, doc: 'Size of the disk.' }),
    allocator: param.oneOf(allocators, {
      default: 'sparse',
      doc: 'Take memory for what is written, or reserve it for the whole disk.',
    }),
  },
  setup({ size, allocator }) {
    const { operations } = ramDisk('memory', size, allocator)
    return { open: () => ({ size, ...operations }) }
  },
})
