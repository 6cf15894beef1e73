/** Actions of one client that could hold up another. */
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
} from '../src/protocol/constants.js'
import type { RawRequest } from '../src/testing/index.js'

const [MiB, GiB] = [2 ** 20, 2 ** 30]

export interface StallRow {
  readonly name: string
  /** The server's arguments. The folder is for its own files. */
  server(folder: string): readonly string[]
  /** The bad client sends this request `times` times at once. */
  readonly request: RawRequest
  readonly times: number
  /** Operations of a slow disk, with their delays in ms: see tests/slow-disk.ts. */
  readonly slow?: readonly string[]
  /** The bad client opens exports, or lists them, instead of sending requests. */
  readonly instead?: 'open' | 'list'
}

const memory =
  (...more: string[]) =>
  () => ['memory', '2G', ...more]
const zeroes: RawRequest = { type: NBD_CMD_WRITE_ZEROES, length: 2 * GiB }
const read64: RawRequest = { type: NBD_CMD_READ, length: 64 * MiB }
const slowDisk = (folder: string) => ['file', join(folder, 'mnt', 'disk')]
const seconds = 1000

export const stallRows: readonly StallRow[] = [
  { name: 'nothing', server: memory(), request: { type: NBD_CMD_FLUSH }, times: 1 },
  {
    name: '2,000 TRIM of 64 MiB, malloc',
    server: memory('allocator=malloc'),
    request: { type: NBD_CMD_TRIM, length: 64 * MiB },
    times: 2000,
  },
  { name: 'WRITE_ZEROES of 2 GiB, malloc', server: memory('allocator=malloc'), request: zeroes, times: 4 },
  { name: 'WRITE_ZEROES of 2 GiB, sparse', server: memory(), request: zeroes, times: 4 },
  { name: 'WRITE_ZEROES of 2 GiB, threads', server: memory('--workers=2'), request: zeroes, times: 4 },
  {
    name: 'WRITE_ZEROES of 2 GiB, emulated',
    server: () => ['--filter=nozero', 'memory', '2G', 'zeromode=emulate'],
    request: zeroes,
    times: 2,
  },
  {
    name: 'WRITE of 64 MiB',
    server: memory(),
    request: { type: NBD_CMD_WRITE, length: 32 * MiB, payload: Buffer.alloc(32 * MiB, 1) },
    times: 4,
  },
  {
    name: 'CACHE of 1 GiB, emulated',
    server: () => ['--filter=nocache', 'pattern', '1G', 'cachemode=emulate'],
    request: { type: NBD_CMD_CACHE, length: GiB },
    times: 2,
  },
  { name: 'READ of 64 MiB, random', server: () => ['random', '1G'], request: read64, times: 8 },
  { name: 'READ of 64 MiB, pattern', server: () => ['pattern', '1G'], request: read64, times: 8 },
  {
    name: '300 BLOCK_STATUS of 32,768 runs',
    server: fragmented,
    request: { type: NBD_CMD_BLOCK_STATUS, length: 256 * MiB },
    times: 300,
  },
  {
    name: 'LIST of 100,000 files',
    server: manyFiles,
    request: { type: NBD_CMD_FLUSH },
    times: 1,
    instead: 'list',
  },
  {
    name: 'slow disk: open',
    server: slowDisk,
    slow: ['open=1000', 'getattr=200'],
    request: { type: NBD_CMD_FLUSH },
    times: 1,
    instead: 'open',
  },
  {
    name: 'slow disk: READ',
    server: slowDisk,
    slow: [`read=${seconds}`],
    request: { type: NBD_CMD_READ, offset: MiB, length: 4096 },
    times: 1,
  },
  {
    name: 'slow disk: WRITE',
    server: slowDisk,
    slow: [`write=${seconds}`],
    request: { type: NBD_CMD_WRITE, length: 4096, payload: Buffer.alloc(4096) },
    times: 1,
  },
  {
    name: 'slow disk: FLUSH',
    server: slowDisk,
    slow: [`fsync=${seconds}`],
    request: { type: NBD_CMD_FLUSH },
    times: 1,
  },
  {
    name: 'slow disk: WRITE_ZEROES',
    server: slowDisk,
    slow: [`fallocate=${seconds}`],
    request: { type: NBD_CMD_WRITE_ZEROES, length: MiB },
    times: 1,
  },
  {
    name: 'slow disk: BLOCK_STATUS',
    server: slowDisk,
    slow: [`lseek=${seconds}`],
    request: { type: NBD_CMD_BLOCK_STATUS, length: MiB },
    times: 1,
  },
  {
    name: 'log filter, a FIFO nobody reads',
    server: unread,
    request: { type: NBD_CMD_READ, length: 512 },
    times: 20_000,
  },
]

function fragmented(folder: string): readonly string[] {
  const path = join(folder, 'fragmented')
  const fd = openSync(path, 'w')
  ftruncateSync(fd, 256 * MiB)
  for (let offset = 0; offset < 256 * MiB; offset += 8192) writeSync(fd, 'x', offset)
  closeSync(fd)
  return ['file', path]
}

function manyFiles(folder: string): readonly string[] {
  const directory = join(folder, 'many')
  mkdirSync(directory)
  for (let number = 0; number < 100_000; number++) writeFileSync(join(directory, `disk-${number}`), '')
  return ['file', `dir=${directory}`]
}

function unread(folder: string): readonly string[] {
  const path = join(folder, 'fifo')
  if (!existsSync(path)) execFileSync('mkfifo', [path])
  return ['--filter=log', 'memory', '1M', `logfile=${path}`]
}
