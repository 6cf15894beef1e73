/** DOS partition tables: four primary partitions, and a chain of tables for the logical ones. */
import type { Device } from '../../api/device.js'
import { ConfigError } from '../../api/errors.js'
import { readBytes } from '../../lib/read-bytes.js'
import type { Range } from '../../lib/slice.js'

const extendedTypes = [0x05, 0x0f, 0x85]
const protective = 0xee

/** An entry of a table; its start is in sectors. */
interface Entry {
  readonly type: number
  readonly start: number
  readonly sectors: number
}

function entryOf(table: Buffer, index: number): Entry {
  const at = 446 + 16 * index
  return { type: table[at + 4] ?? 0, start: table.readUInt32LE(at + 8), sectors: table.readUInt32LE(at + 12) }
}

const isEmpty = ({ type, sectors }: Entry) => type === 0 || sectors === 0

/** @throws ConfigError where the table makes no sense, or the partition is not in the table. */
export async function findInMbr(
  device: Device,
  mbr: Buffer,
  number: number,
  sectorBytes: number,
): Promise<Range> {
  const primary = [0, 1, 2, 3].map((index) => entryOf(mbr, index))
  const entry = primary[number - 1]
  const { start, sectors } = entry
    ? checkPrimary(entry, number)
    : await findLogical(device, primary, number, sectorBytes)
  return { offset: start * sectorBytes, size: sectors * sectorBytes }
}

function checkPrimary(entry: Entry, number: number): Entry {
  if (isEmpty(entry)) throw missing(number)
  if (extendedTypes.includes(entry.type))
    throw wrong(number, 'it is extended, and cannot be served: those in it have numbers from 5 on')
  if (entry.type === protective)
    throw wrong(number, 'it stands for a GPT that is not there: try another partition-sectorsize')
  return entry
}

/** Follows the chain: each table has one logical partition, and a link to the next table. */
async function findLogical(
  device: Device,
  primary: readonly Entry[],
  number: number,
  sectorBytes: number,
): Promise<Entry> {
  const extended = primary.find(({ type }) => extendedTypes.includes(type))
  if (extended === undefined) throw wrong(number, 'there is no extended partition')
  const end = extended.start + extended.sectors
  let table = extended.start
  for (let current = 5; ; current++) {
    if (table === 0 || table >= end || (table + 1) * sectorBytes > device.size)
      throw wrong(number, `the table at sector ${table} is outside the disk or the extended partition`)
    const bytes = await readBytes(device, table * sectorBytes, 512)
    const [own, link] = [entryOf(bytes, 0), entryOf(bytes, 1)]
    if (current === number) {
      if (isEmpty(own)) throw missing(number)
      if (own.start === 0 || table + own.start + own.sectors > end)
        throw wrong(number, 'it is outside the extended partition')
      return { ...own, start: table + own.start }
    }
    if (isEmpty(link)) throw missing(number)
    const next = extended.start + link.start
    // Following a table that points back would not end.
    if (next <= table) throw wrong(number, `the table at sector ${table} points back to sector ${next}`)
    table = next
  }
}

function missing(number: number): ConfigError {
  return new ConfigError(`partition: MBR partition ${number} not found`)
}

function wrong(number: number, what: string): ConfigError {
  return new ConfigError(`partition: MBR partition ${number}: ${what}`)
}
