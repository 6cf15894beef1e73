/** The served disks, their images, and how they are filled. */
import { type Client, type Disk, IMAGE, type Image } from './row.js'

export const [KiB, MiB, GiB] = [2 ** 10, 2 ** 20, 2 ** 30]

/** A disk has as many holes as pieces of data. */
export const million = 2 ** 20
export const image: Image = { name: 'disk', bytes: 512 * MiB }
export const source: Image = { name: 'source', bytes: 512 * MiB }
export const withHoles = (holes: number): Image => ({
  name: `${holes} holes`,
  bytes: holes * 8 * KiB,
  holeBytes: 4 * KiB,
})

/** Writes a whole disk of this many MiB once. */
export const fillAll = (mebibytes: number) => [
  ...['--mode=write', '--block=1M', '--depth=4', '--sequential'],
  `--count=${mebibytes}`,
]

/** The disk is filled, so that reads return data and not holes, and writes take no new memory. */
export const memory: Disk = { args: ['memory', '1G'], prepare: fillAll(1024) }
/** Far larger than any cache, but filled quickly: for rows that are also in `--quick`. */
export const smallMemory: Disk = { args: ['memory', '256M'], prepare: fillAll(256) }
export const nothing: Disk = { args: ['null', '1G'] }
/** The image was just written, so it is in the page cache. */
export const file: Disk = { args: ['file', IMAGE], image }

/** The load client, with the arguments that most rows use. */
export function load(mode: string, block: string, depth: number, connections = 1): Client {
  return {
    program: 'load',
    args: [`--mode=${mode}`, `--block=${block}`, `--depth=${depth}`, `--connections=${connections}`],
  }
}
