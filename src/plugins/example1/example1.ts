/**
 * The smallest useful plugin: a read-only disk with fixed content.
 *
 * A plugin is a definition. Its `setup` is called once for each server, and returns an object whose `open` is
 * called once for each client. The result of `open` is the disk for this client: a `size` and a `read`.
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
        // No need to check the range or the type of request: the range always lies on the disk, and without a
        // `write` the disk is announced as read-only.
        read(offset, length) {
          // A view of existing memory costs nothing. There is none behind the table.
          const start = table.subarray(offset, offset + length)
          if (start.length === length) return start
          // Zeroes come from one shared page, so 100 MB take no memory.
          if (start.length === 0) return zeroes(length)
          // An answer may have several parts.
          return [start, zeroes(length - start.length)].flat()
        },
      }),
    }
  },
})

/** The first sector of the disk (MBR), with one partition from 1 MiB to the end. */
function partitionTable(): Uint8Array {
  const sector = Buffer.alloc(sectorBytes)
  const firstSector = (1024 * 1024) / sectorBytes
  const entry = sector.subarray(446, 462)
  // Cylinders and heads are obsolete. These values refer to the sector numbers that follow.
  entry.writeUIntBE(0xfeffff, 1, 3)
  entry.writeUIntBE(0xfeffff, 5, 3)
  entry[4] = 0x83 // Linux
  entry.writeUInt32LE(firstSector, 8)
  entry.writeUInt32LE(diskBytes / sectorBytes - firstSector, 12)
  sector.writeUInt16BE(0x55aa, 510)
  return sector
}
