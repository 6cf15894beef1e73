/**
 * The smallest plugin that is of use: a disk of fixed content, for reading alone.
 *
 * A plugin is a definition. Its `setup` is called once for each server, and gives an object whose `open` is
 * called once for each client. What `open` gives is the disk that this client sees: a `size` and a `read`.
 */
import { definePlugin } from '../../api/plugin.js'
import { zeroes } from '../../api/zeroes.js'

/** All sizes and offsets are bytes. */
const diskBytes = 100 * 1024 * 1024
const sectorBytes = 512

export default definePlugin({
  name: 'example1',
  description: 'a read-only disk with one empty partition: the smallest plugin',
  params: {},
  setup() {
    const table = partitionTable()
    return {
      open: () => ({
        size: diskBytes,
        // There is no need to check the range, nor the type of the request: only what lies on the disk is
        // asked for, and since there is no `write` the disk is announced as read-only.
        read(offset, length) {
          // A view of memory that is here already costs nothing. Past the table there is none of it.
          const start = table.subarray(offset, offset + length)
          if (start.length === length) return start
          // Zeroes come from one page that all share, so that 100 MB take no memory.
          if (start.length === 0) return zeroes(length)
          // An answer may consist of several parts.
          return [start, zeroes(length - start.length)].flat()
        },
      }),
    }
  },
})

/** The first sector of the disk (MBR), which says that one partition goes from 1 MiB to the end. */
function partitionTable(): Uint8Array {
  const sector = Buffer.alloc(sectorBytes)
  const firstSector = (1024 * 1024) / sectorBytes
  const entry = sector.subarray(446, 462)
  // Cylinders and heads are long gone: these values refer to the numbers of sectors that follow.
  entry.writeUIntBE(0xfeffff, 1, 3)
  entry.writeUIntBE(0xfeffff, 5, 3)
  entry[4] = 0x83 // Linux
  entry.writeUInt32LE(firstSector, 8)
  entry.writeUInt32LE(diskBytes / sectorBytes - firstSector, 12)
  sector.writeUInt16BE(0x55aa, 510)
  return sector
}
