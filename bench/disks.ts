/** What is served: disks, their images, and what they are filled with. */
import { type Client, type Disk, IMAGE, type Image } from './row.js'

export const [KiB, MiB, GiB] = [2 ** 10, 2 ** 20, 2 ** 30]

/** Holes of a disk are as many as its pieces of data. */
export const million = 2 ** 20
export const image: Image = { name: 'disk', bytes: 512 * MiB }
export const source: Image = { name: 'source', bytes: 512 * MiB }
export const withHoles = (holes: number): Image => ({
  name: `${holes} holes`,
  bytes: holes * 8 * KiB,
  holeBytes: 4 * KiB,
})

/** Writes a whole disk of so many MiB once. */
export const fillAll = (mebibytes: number) => [
  ...['--mode=write', '--block=1M', '--depth=4', '--sequential'],
  `--count=${mebibytes}`,
]

/** Filled, so that reads give data and not holes, and writes take no memory that is new. */
export const memory: Disk = { args: ['memory', '1G'], prepare: fillAll(1024) }
/** Far larger than any cache, and filled in no time: for rows that are also those of `--quick`. */
export const smallMemory: Disk = { args: ['memory', '256M'], prepare: fillAll(256) }
export const nothing: Disk = { args: ['null', '1G'] }
/** As it was just written, it is in the page cache. */
export const file: Disk = { args: ['file', IMAGE], image }

/** The load client, with what most of its rows say of it. */
export function load(mode: string, block: string, depth: number, connections = 1): Client {
  return {
    program: 'load',
    args: [`--mode=${mode}`, `--block=${block}`, `--depth=${depth}`, `--connections=${connections}`],
  }
}
