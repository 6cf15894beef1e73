/** GUID partition tables (UEFI specification, "GUID Partition Table (GPT) Disk Layout"). */
import type { Device } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'
import { readBytes } from '../../lib/read-bytes.js'
import type { Range } from '../../lib/slice.js'

/** The smallest disk that has room for two tables of 128 entries of 128 bytes. */
export function gptBytesMin(sectorBytes: number): number {
  return 3 * sectorBytes + 2 * 128 * 128
}

/** @throws ConfigError where the table makes no sense, or the partition is not in the table. */
export async function findInGpt(
  device: Device,
  header: Buffer,
  number: number,
  sectorBytes: number,
): Promise<Range> {
  const firstEntry = header.readBigUInt64LE(72)
  const [entries, entryBytes] = [header.readUInt32LE(80), header.readUInt32LE(84)]
  if (firstEntry !== 2n)
    throw new ConfigError(`partition: the GPT entries begin at sector ${firstEntry}: expected sector 2`)
  if (entryBytes < 128 || sectorBytes % entryBytes !== 0)
    throw new ConfigError(
      `partition: GPT entries of ${entryBytes} bytes do not fill a sector of ${sectorBytes}`,
    )
  if (device.size < 3 * sectorBytes + 2 * entries * entryBytes)
    throw new ConfigError(`partition: the disk has no room for two GPT tables of ${entries} entries`)
  const missing = new ConfigError(`partition: GPT partition ${number} not found`)
  if (number > entries) throw missing
  const entry = await readBytes(device, 2 * sectorBytes + (number - 1) * entryBytes, 128)
  if (entry.subarray(0, 16).every((byte) => byte === 0)) throw missing
  const [first, last] = [Number(entry.readBigUInt64LE(32)), Number(entry.readBigUInt64LE(40))]
  return { offset: first * sectorBytes, size: (last - first + 1) * sectorBytes }
}
