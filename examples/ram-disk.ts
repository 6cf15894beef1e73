/** A disk in memory: a whole plugin. Serve it: `bin/nbdkit-ts ./examples/ram-disk.ts 64M` */
import { definePlugin, param } from 'nbdkit-ts'

export default definePlugin({
  name: 'ram-disk',
  description: 'a disk in memory',
  params: {
    size: param.size({ required: true, magic: true, doc: 'Size of the disk.' }),
  },
  setup({ size }) {
    // Here and not in open: all clients share one disk.
    const disk = new Uint8Array(size)
    return {
      open: () => ({
        size,
        can: { multiConn: true, fua: 'native' },
        read: (offset, length) => disk.subarray(offset, offset + length),
        write: (offset, data) => disk.set(data, offset),
        flush() {},
        zero: (offset, length) => void disk.fill(0, offset, offset + length),
      }),
    }
  },
})
