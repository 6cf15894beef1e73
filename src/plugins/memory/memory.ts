import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'
import { allocators, flatDisk, ramDisk } from '../../lib/ram-disk.js'
import { openShared, reserveShared, type SharedMemory } from '../../os/shared-memory.js'

/** A RAM disk that all clients share (nbdkit-memory-plugin(1)). */
export default definePlugin({
  name: 'memory',
  description: 'a disk in memory, shared by all clients',
  commandLine: {
    has: [
      'can_fast_zero',
      'can_fua',
      'can_multi_conn',
      'pwrite',
      'flush',
      'trim',
      'zero',
      'extents',
      'cache',
    ],
    lines: ['mlock=no', 'zstd=no'],
  },
  params: {
    size: param.size({ required: true, magic: true, doc: 'Size of the disk.' }),
    allocator: param.oneOf(allocators, {
      default: 'sparse',
      doc: 'Take memory for what is written, or reserve it for the whole disk.',
    }),
  },
  threads: { share: ({ size }) => reserveShared(size) },
  setup({ size, allocator }, { shared }) {
    // Tracking the written pages would need to wait for the other threads, so all of the disk is data.
    const { operations } =
      shared === undefined ? ramDisk('memory', size, allocator) : flatDisk(openShared(shared as SharedMemory))
    return { open: () => ({ size, ...operations }) }
  },
})
