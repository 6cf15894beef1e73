/** The rows of the benchmark. A row added here is measured, reported and drawn without further work. */

import { join } from 'node:path'
import { packageRoot } from '../tests/programs.js'
import { file, GiB, image, KiB, load, MiB, memory, nothing, smallMemory, source } from './disks.js'
import { languageRows } from './language-rows.js'
import { otherRows } from './other-rows.js'
import { type Client, type Disk, perSecond, type Row, SOURCE, seconds, URI } from './row.js'

const waitingPlugin = join(packageRoot, 'dist', 'bench', 'waiting-plugin.js')

const served = [
  { name: 'memory', disk: memory, size: '1g' },
  { name: 'null', disk: nothing, size: '1g' },
  { name: 'file', disk: file, size: '512m', others: ['qemu-nbd', 'nbd-server'] as const },
]

function fio(kind: string, depth: number, size: string, jobs = 1): Client {
  return {
    program: 'fio',
    args: [`--rw=${kind}`, '--bs=4k', `--iodepth=${depth}`, `--numjobs=${jobs}`, `--size=${size}`],
  }
}

const withFio: Row[] = served.flatMap(({ name, disk, size, others = [] }) =>
  ['randread', 'randwrite', 'randrw'].flatMap((kind) =>
    [1, 4]
      .flatMap((jobs) => [1, 4, 16, 64].map((depth) => ({ jobs, depth })))
      .filter(({ jobs, depth }) => name === 'memory' || (jobs === 1 && depth !== 4))
      .map(({ jobs, depth }) => ({
        name: `fio ${name} ${kind} 4K depth ${depth}${jobs > 1 ? ` jobs ${jobs}` : ''}`,
        disk,
        client: fio(kind, depth, size, jobs),
        measures: perSecond,
        others,
        chart: name === 'memory' && jobs === 1 && 'fio memory',
      })),
  ),
)

/** A copy out of the server, or into it. */
function copy(direction: 'out' | 'in', connections: number, requestBytes: number, bytes: number): Client {
  const words = direction === 'out' ? [URI, 'null:'] : [SOURCE, URI]
  return {
    program: 'nbdcopy',
    args: [`--connections=${connections}`, `--request-size=${requestBytes}`, ...words],
    ...(direction === 'in' && { source }),
    requests: bytes / requestBytes,
  }
}

const withNbdcopy: Row[] = served
  .filter(({ name }) => name !== 'null')
  .flatMap(({ name, disk, others = [] }) =>
    (['out', 'in'] as const).flatMap((direction) =>
      [1, 4].flatMap((connections) =>
        [256 * KiB, 4 * MiB].map((requestBytes) => ({
          name: `nbdcopy ${direction} ${name} ${requestBytes === 4 * MiB ? '4M' : '256K'} connections ${connections}`,
          disk,
          client: copy(
            direction,
            connections,
            requestBytes,
            name === 'memory' && direction === 'out' ? GiB : image.bytes,
          ),
          measures: seconds,
          others,
          chart: requestBytes === 4 * MiB && 'nbdcopy',
        })),
      ),
    ),
  )

/** Workers read several sockets at once. */
const copyWithWorkers: Row[] = (['out', 'in'] as const).map((direction) => ({
  name: `nbdcopy ${direction} workers memory 256K connections 4`,
  disk: { ...memory, ours: ['--workers=auto'] },
  client: copy(direction, 4, 256 * KiB, direction === 'out' ? GiB : image.bytes),
  measures: seconds,
}))

const uncached: Row[] = [
  { name: 'nbdcopy out uncached file 256K connections 1', client: copy('out', 1, 256 * KiB, image.bytes) },
  { name: 'fio uncached file randread 4K depth 16', client: fio('randread', 16, '512m') },
].map((row) => ({
  ...row,
  disk: { ...file, uncached: true },
  measures: row.client.program === 'fio' ? perSecond : seconds,
  others: ['qemu-nbd', 'nbd-server'],
}))

const loaded = (disk: Disk) => (disk === memory ? smallMemory : disk)

/** Rows of `--quick`, by plugin. */
const quick: Readonly<Record<string, readonly string[]>> = {
  memory: ['4K depth 1', '4K depth 64', '256K depth 16'],
  file: ['read 4K depth 64', 'read 256K depth 16'],
}

const withLoad: Row[] = served.flatMap(({ name, disk, others = [] }) =>
  ['read', 'write'].flatMap((mode) => [
    ...[
      { block: '4K', depth: 1 },
      { block: '4K', depth: 16 },
      { block: '4K', depth: 64 },
      { block: '256K', depth: 16 },
      { block: '1M', depth: 4 },
    ].map(({ block, depth }) => ({
      name: `load ${name} ${mode} ${block} depth ${depth}`,
      disk: loaded(disk),
      client: load(mode, block, depth),
      measures: perSecond,
      others,
      quick: (quick[name] ?? []).some((end) => `${mode} ${block} depth ${depth}`.endsWith(end)),
      chart: name !== 'null' && depth !== 4 && `load ${name}`,
    })),
    {
      name: `load ${name} ${mode} 4K connections 4 depth 16`,
      disk: loaded(disk),
      client: load(mode, '4K', 16, 4),
      measures: perSecond,
      others,
      quick: name === 'memory' && mode === 'read',
      chart: name !== 'null' && `load ${name}`,
    },
  ]),
)

/** Plugins whose reads wait, beside nbdkit's null, which answers at once, and nbdkit's filter for delays. */
const waiting: Row[] = [
  { how: 'async', depths: [1, 16, 64], nbdkit: nothing.args },
  { how: 'turn', depths: [1, 16, 64], nbdkit: nothing.args },
  { how: '1ms', depths: [16, 64, 128], nbdkit: ['--filter=delay', ...nothing.args, 'rdelay=1ms'] },
].flatMap(({ how, depths, nbdkit }) =>
  depths.map((depth) => ({
    name: `load waiting ${how} read 4K depth ${depth}`,
    disk: { args: [waitingPlugin, `for=${how}`], nbdkit },
    client: load('read', '4K', depth),
    measures: perSecond,
    quick: how !== '1ms' && depth === 64,
    chart: 'load waiting',
  })),
)

export const rows: readonly Row[] = [
  ...withFio,
  ...withNbdcopy,
  ...copyWithWorkers,
  ...uncached,
  ...withLoad,
  ...waiting,
  ...languageRows,
  ...otherRows,
]
