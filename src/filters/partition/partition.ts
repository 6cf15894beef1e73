import type { Device } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'
import { param } from '../../api/params.js'
import { defineFilter } from '../../api/plugin.js'
import { readBytes } from '../../lib/read-bytes.js'
import { type Range, slice } from '../../lib/slice.js'
import { findInGpt, gptBytesMin } from './gpt.js'
import { findInMbr } from './mbr.js'

const sectorSizes = [512, 4096]

/** Serves one partition of a disk (nbdkit-partition-filter(1)). */
export default defineFilter({
  name: 'partition',
  description: 'serves one partition of a disk',
  params: {
    number: param.int({ required: true, keys: ['partition'], min: 1, doc: 'Number of the partition.' }),
    sectorSize: param.size({
      keys: ['partition-sectorsize'],
      doc: 'Sector size, 512 or 4k; the minimum block size of the disk unless given, else 512.',
    }),
  },
  threads: 'isolated',
  setup({ number, sectorSize }) {
    if (sectorSize !== undefined && !sectorSizes.includes(sectorSize))
      throw new ConfigError(`partition: partition-sectorsize=${sectorSize}: expected 512 or 4096`)
    return {
      async open(request, next) {
        const device = await next(request)
        const { minimum } = device.blockSize
        const sectorBytes = sectorSize ?? (sectorSizes.includes(minimum) ? minimum : 512)
        const { scheme, range } = await find(device, number, sectorBytes)
        if (range.size < 0 || range.offset + range.size > device.size)
          throw new ConfigError(
            `partition: ${scheme} partition ${number} is outside the disk, which has ${device.size} bytes`,
          )
        const { description } = device
        return {
          ...slice(device, range),
          description: description && `partition ${number} of ${scheme} disk: ${description}`,
        }
      },
    }
  },
})

interface Found {
  readonly scheme: 'MBR' | 'GPT'
  readonly range: Range
}

async function find(device: Device, number: number, sectorBytes: number): Promise<Found> {
  if (device.size < 2 * sectorBytes)
    throw new ConfigError(`partition: a disk of ${device.size} bytes has no room for a partition table`)
  const mbr = await readBytes(device, 0, 512)
  const header = await readBytes(device, sectorBytes, 512)
  if (header.toString('latin1', 0, 8) === 'EFI PART' && device.size >= gptBytesMin(sectorBytes))
    return { scheme: 'GPT', range: await findInGpt(device, header, number, sectorBytes) }
  if (mbr.readUInt16BE(510) === 0x55aa)
    return { scheme: 'MBR', range: await findInMbr(device, mbr, number, sectorBytes) }
  throw new ConfigError('partition: the disk has neither a GPT nor an MBR')
}
