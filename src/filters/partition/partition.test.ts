import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { definePlugin } from '../../api/plugin.js'
import { deviceContract, openDevice, readBytes } from '../../testing/index.js'
import partition from './partition.js'

interface Entry {
  readonly type: number
  readonly start: number
  readonly sectors: number
}

/** A disk of `sectors` sectors, each of which begins with its number. */
function blank(sectors: number, sectorBytes = 512): Buffer {
  const bytes = Buffer.alloc(sectors * sectorBytes)
  for (let sector = 0; sector < sectors; sector++) bytes.writeUInt32LE(sector, sector * sectorBytes)
  return bytes
}

/** Writes a table at a sector. */
function table(bytes: Buffer, at: number, entries: readonly (Entry | undefined)[]): void {
  for (const [index, entry] of entries.entries()) {
    if (entry === undefined) continue
    bytes[at + 446 + 16 * index + 4] = entry.type
    bytes.writeUInt32LE(entry.start, at + 446 + 16 * index + 8)
    bytes.writeUInt32LE(entry.sectors, at + 446 + 16 * index + 12)
  }
  bytes.writeUInt16BE(0x55aa, at + 510)
}

const linux = (start: number, sectors: number): Entry => ({ type: 0x83, start, sectors })
const extended = (start: number, sectors: number): Entry => ({ type: 0x05, start, sectors })

/** Two primary partitions, and an extended one with three logical partitions, the second of them empty. */
function dos(sectorBytes = 512): Buffer {
  const bytes = blank(200, sectorBytes)
  table(bytes, 0, [linux(2, 10), undefined, linux(20, 5), extended(100, 90)])
  table(bytes, 100 * sectorBytes, [linux(1, 9), extended(20, 10)])
  table(bytes, 120 * sectorBytes, [undefined, extended(40, 20)])
  table(bytes, 140 * sectorBytes, [linux(2, 18)])
  return bytes
}

interface Gpt {
  readonly sectorBytes?: number
  readonly entryBytes?: number
  readonly entries?: number
  readonly firstEntry?: bigint
  readonly sectors?: number
}

/** Partitions 1 and 3, of 4 and 10 sectors. */
function gpt({
  sectorBytes = 512,
  entryBytes = 128,
  entries = 128,
  firstEntry = 2n,
  ...more
}: Gpt = {}): Buffer {
  const bytes = blank(more.sectors ?? 200, sectorBytes)
  table(bytes, 0, [{ type: 0xee, start: 1, sectors: 199 }])
  bytes.write('EFI PART', sectorBytes, 'latin1')
  bytes.writeBigUInt64LE(firstEntry, sectorBytes + 72)
  bytes.writeUInt32LE(entries, sectorBytes + 80)
  bytes.writeUInt32LE(entryBytes, sectorBytes + 84)
  bytes.fill(0, 2 * sectorBytes, Math.min(bytes.length, 2 * sectorBytes + 4 * entryBytes))
  for (const [index, first, last] of [
    [0, 100n, 103n],
    [2, 150n, 159n],
  ] as const) {
    const at = 2 * sectorBytes + index * entryBytes
    bytes.fill(1, at, at + 16)
    bytes.writeBigUInt64LE(first, at + 32)
    bytes.writeBigUInt64LE(last, at + 40)
  }
  return bytes
}

function open(bytes: Buffer, inputs: Parameters<typeof partition>[0], more = {}) {
  const disk = definePlugin({
    name: 'disk',
    description: 'for tests',
    params: {},
    setup: () => ({
      open: () => ({
        size: bytes.length,
        read: (offset: number, length: number) => bytes.subarray(offset, offset + length),
        write: (offset: number, data: Uint8Array) => bytes.set(data, offset),
        ...more,
      }),
    }),
  })
  return openDevice(disk(), [partition(inputs)])
}

/** The first sector of a partition, and the number of its sectors. */
async function found(bytes: Buffer, number: number, sectorSize = 512): Promise<[number, number]> {
  const device = await open(bytes, { number, sectorSize })
  const first = device.size > 0 ? (await readBytes(device, 0, 4)).readUInt32LE() : -1
  await device.close()
  return [first, device.size / sectorSize]
}

for (const sectorBytes of [512, 4096])
  describe(`with sectors of ${sectorBytes} bytes`, () => {
    for (const [number, range] of [
      [1, [2, 10]],
      [3, [20, 5]],
      [5, [101, 9]],
      [7, [142, 18]],
    ] as const)
      test(`partition finds partition ${number} of an MBR`, async () =>
        assert.deepEqual(await found(dos(sectorBytes), number, sectorBytes), range))

    for (const [number, range] of [
      [1, [100, 4]],
      [3, [150, 10]],
    ] as const)
      test(`partition finds partition ${number} of a GPT`, async () =>
        assert.deepEqual(await found(gpt({ sectorBytes }), number, sectorBytes), range))

    test('partition takes the sector size from the block size of the disk', async () => {
      const device = await open(gpt({ sectorBytes }), { number: 3 }, { blockSize: { minimum: sectorBytes } })
      assert.equal(device.size, 10 * sectorBytes)
      await device.close()
    })
  })

test('partition meets the contract of a device', async () => {
  const device = await open(dos(), { number: 1 })
  await deviceContract(device)
  await device.close()
})

test('partition leaves the bytes around it alone', async () => {
  const bytes = dos()
  const before = Buffer.from(bytes)
  const device = await open(bytes, { number: 3 })
  await device.write(0, Buffer.alloc(device.size, 0xff), { fua: false })
  before.fill(0xff, 20 * 512, 25 * 512)
  assert.ok(bytes.equals(before))
  await device.close()
})

test('partition describes itself where the disk has a description', async () => {
  for (const [description, expected] of [
    ['my disk', 'partition 1 of GPT disk: my disk'],
    ['', ''],
  ]) {
    const device = await open(gpt(), { number: 1 }, { description })
    assert.equal(device.description, expected)
    await device.close()
  }
})

describe('partition refuses', () => {
  const looping = dos()
  table(looping, 120 * 512, [undefined, extended(0, 10)])
  const beyond = dos()
  table(beyond, 0, [linux(190, 11)])
  const outside = dos()
  table(outside, 100 * 512, [linux(80, 20)])
  const far = dos()
  table(far, 100 * 512, [linux(1, 9), extended(95, 10)])
  const backwards = gpt()
  backwards.writeBigUInt64LE(98n, 1024 + 40)
  const cases: [what: string, bytes: Buffer, number: number, message: string][] = [
    ['an empty primary partition', dos(), 2, 'MBR partition 2 not found'],
    ['an empty logical partition', dos(), 6, 'MBR partition 6 not found'],
    ['a number behind the last', dos(), 8, 'MBR partition 8 not found'],
    [
      'an extended partition',
      dos(),
      4,
      'MBR partition 4: it is extended, and cannot be served: those in it have numbers from 5 on',
    ],
    [
      'a logical partition of none',
      beyond.fill(0, 462, 510),
      5,
      'MBR partition 5: there is no extended partition',
    ],
    [
      'a chain that points back',
      looping,
      7,
      'MBR partition 7: the table at sector 120 points back to sector 100',
    ],
    [
      'a chain that leaves the extended partition',
      far,
      6,
      'MBR partition 6: the table at sector 195 is outside the disk or the extended partition',
    ],
    [
      'a logical partition that leaves it',
      outside,
      5,
      'MBR partition 5: it is outside the extended partition',
    ],
    [
      'a primary partition beyond the disk',
      beyond,
      1,
      'MBR partition 1 is outside the disk, which has 102400 bytes',
    ],
    [
      'a GPT that the sector size hides',
      gpt({ sectorBytes: 4096 }),
      1,
      'MBR partition 1: it stands for a GPT that is not there: try another partition-sectorsize',
    ],
    ['an empty entry of a GPT', gpt(), 2, 'GPT partition 2 not found'],
    ['a number behind a GPT', gpt(), 129, 'GPT partition 129 not found'],
    ['a GPT partition that ends before it begins', backwards, 1, 'outside the disk, which has 102400 bytes'],
    [
      'entries elsewhere',
      gpt({ firstEntry: 34n }),
      1,
      'the GPT entries begin at sector 34: expected sector 2',
    ],
    ['odd entries', gpt({ entryBytes: 136 }), 1, 'GPT entries of 136 bytes do not fill a sector of 512'],
    [
      'more entries than there is room for',
      gpt({ entries: 2 ** 31 }),
      1,
      'the disk has no room for two GPT tables of 2147483648 entries',
    ],
    ['a disk without a table', blank(200), 1, 'the disk has neither a GPT nor an MBR'],
    ['a tiny disk', blank(1), 1, 'a disk of 512 bytes has no room for a partition table'],
  ]
  for (const [what, bytes, number, message] of cases)
    test(what, async () => {
      await assert.rejects(open(bytes, { number, sectorSize: 512 }), (error: Error) => {
        assert.ok(error.message.startsWith('partition: ') && error.message.endsWith(message), error.message)
        return true
      })
    })

  test('a sector size of its own', async () => {
    await assert.rejects(open(dos(), { number: 1, sectorSize: 1024 }), {
      message: 'partition: partition-sectorsize=1024: expected 512 or 4096',
    })
  })

  test('partition 0', async () => {
    await assert.rejects(open(dos(), { number: 0 }), /^ConfigError: partition: partition: /)
  })
})
