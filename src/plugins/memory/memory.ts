import type { DeviceInit } from '../../api/device.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { definePlugin } from '../../api/plugin.js'
import { SparseArray } from '../../lib/sparse-array.js'

/** A RAM disk that all clients share (nbdkit-memory-plugin(1)). */
export default definePlugin({
  name: 'memory',
  description: 'a disk in memory, shared by all clients',
  params: {
    size: param.size({ required: true, magic: true, doc: 'Size of the disk.' }),
    allocator: param.oneOf(['sparse', 'malloc'], {
      default: 'sparse',
      doc: 'Take memory for what is written, or reserve it for the whole disk.',
    }),
  },
  setup({ size, allocator }) {
    const disk = allocator === 'malloc' ? flatDisk(size) : sparseDisk(size)
    return {
      open: () => ({
        size,
        // Nothing is ever durable, so all of it is as durable as it gets.
        can: { multiConn: true, fua: 'native', fastZero: true },
        flush() {},
        cache() {},
        ...disk,
      }),
    }
  },
})

type Disk = Pick<DeviceInit, 'read' | 'write' | 'trim' | 'zero' | 'extents'>

function sparseDisk(size: number): Disk {
  const array = new SparseArray(size)
  const zero = (offset: number, length: number) => array.zero(offset, length)
  return {
    read: (offset, length) => array.read(offset, length),
    write: (offset, data) => array.write(offset, data),
    trim: zero,
    zero,
    extents: (offset, length) => array.extents(offset, length),
  }
}

/** One stretch of memory, all of it data. */
function flatDisk(size: number): Disk {
  const memory = reserve(size)
  const view = (offset: number, length: number) => new Uint8Array(memory, offset, length)
  const zero = (offset: number, length: number) => {
    // In Node 20 a view covers 4 GiB at most.
    for (let done = 0; done < length; done += 2 ** 30)
      view(offset + done, Math.min(length - done, 2 ** 30)).fill(0)
  }
  return {
    read: view,
    write: (offset, data) => view(offset, data.length).set(data),
    trim: zero,
    zero,
  }
}

function reserve(size: number): ArrayBuffer {
  try {
    return new ArrayBuffer(size)
  } catch (error) {
    throw new ConfigError(
      `memory: allocator=malloc cannot reserve ${size} bytes (${messageOf(error)}): ` +
        'allocator=sparse takes memory only for what is written',
      { cause: error },
    )
  }
}
