/** All rows of the benchmark. A row that is added here is measured, reported and drawn: nothing else is to do. */
import {
  type Client,
  connectionsPerSecond,
  type Disk,
  IMAGE,
  type Image,
  mebibytes,
  milliseconds,
  perSecond,
  type Row,
  SOURCE,
  seconds,
  URI,
} from './row.js'

const [KiB, MiB, GiB] = [2 ** 10, 2 ** 20, 2 ** 30]

/** Holes of a disk are as many as its pieces of data. */
const million = 2 ** 20
const image: Image = { name: 'disk', bytes: 512 * MiB }
const source: Image = { name: 'source', bytes: 512 * MiB }
const withHoles = (holes: number): Image => ({
  name: `${holes} holes`,
  bytes: holes * 8 * KiB,
  holeBytes: 4 * KiB,
})

/** Writes a whole disk of so many MiB once. */
const fillAll = (mebibytes: number) => [
  ...['--mode=write', '--block=1M', '--depth=4', '--sequential'],
  `--count=${mebibytes}`,
]

/** Filled, so that reads give data and not holes, and writes take no memory that is new. */
const memory: Disk = { args: ['memory', '1G'], fill: fillAll(1024) }
const nothing: Disk = { args: ['null', '1G'] }
/** As it was just written, it is in the page cache. */
const file: Disk = { args: ['file', IMAGE], image }

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

/** Out of the server, or into it. */
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

const uncached: Row[] = [
  { name: 'nbdcopy out uncached file 256K connections 1', client: copy('out', 1, 256 * KiB, image.bytes) },
  { name: 'fio uncached file randread 4K depth 16', client: fio('randread', 16, '512m') },
].map((row) => ({
  ...row,
  disk: { ...file, uncached: true },
  measures: row.client.program === 'fio' ? perSecond : seconds,
  others: ['qemu-nbd', 'nbd-server'],
}))

function load(mode: string, block: string, depth: number, connections = 1): Client {
  return {
    program: 'load',
    args: [`--mode=${mode}`, `--block=${block}`, `--depth=${depth}`, `--connections=${connections}`],
  }
}

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
      disk,
      client: load(mode, block, depth),
      measures: perSecond,
      others,
      quick: (quick[name] ?? []).some((end) => `${mode} ${block} depth ${depth}`.endsWith(end)),
      chart: name !== 'null' && depth !== 4 && `load ${name}`,
    })),
    {
      name: `load ${name} ${mode} 4K connections 4 depth 16`,
      disk,
      client: load(mode, '4K', 16, 4),
      measures: perSecond,
      others,
      quick: name === 'memory' && mode === 'read',
      chart: name !== 'null' && `load ${name}`,
    },
  ]),
)

const ofConnections: Row[] = [1, 4].map((clients) => ({
  name: `load null connect clients ${clients}`,
  disk: nothing,
  client: { program: 'load', args: ['--mode=connect', `--connections=${clients}`] },
  measures: connectionsPerSecond,
  quick: clients === 1,
  chart: 'other',
}))

const rest: Row[] = [
  {
    name: 'load five-filters memory read 4K depth 64',
    disk: { ...memory, args: [...Array<string>(5).fill('--filter=nofilter'), ...memory.args] },
    client: load('read', '4K', 64),
    measures: perSecond,
    others: ['no filters'],
    quick: true,
    chart: 'other',
  },
  {
    name: 'load tcp memory read 4K depth 64',
    disk: { ...memory, tcp: true },
    client: load('read', '4K', 64),
    measures: perSecond,
    chart: 'other',
  },
  {
    name: 'start until it listens',
    disk: { args: ['null'] },
    client: { program: 'start' },
    measures: milliseconds,
    others: ['node -e 0'],
    quick: true,
    chart: 'other',
  },
  {
    name: 'idle connections 1000',
    disk: nothing,
    client: { program: 'hold', args: ['--connections=1000'], memory: 'growth', settleMs: 300 },
    measures: mebibytes,
    chart: 'other',
  },
  {
    name: 'extents file 65536 holes',
    disk: { args: ['file', IMAGE], image: withHoles(million / 16) },
    client: { program: 'nbdinfo', args: ['--map', '--totals', URI], requests: million / 8 },
    measures: seconds,
    quick: true,
  },
  {
    // nbdkit takes memory by 32 KiB: with less between the data its disk would be one run.
    name: 'extents memory 262144 holes',
    disk: {
      args: ['memory', '16G'],
      fill: ['--mode=write', '--step=64K', '--depth=64', '--sequential', '--count=262144'],
    },
    client: { program: 'nbdinfo', args: ['--map', '--totals', URI], requests: million / 2 },
    measures: seconds,
    chart: 'other',
  },
  ...[
    { name: 'memory', disk: { args: ['memory', '64M'], fill: fillAll(64) } },
    { name: 'file', disk: file },
  ].map(
    ({ name, disk }): Row => ({
      name: `bounded ${name} 64 clients that never read, peak of memory`,
      disk,
      client: {
        program: 'hold',
        args: ['--connections=64', '--block=64M', '--reads=1'],
        memory: 'peak',
        settleMs: 3000,
      },
      measures: mebibytes,
      limit: 300,
      pairs: 2,
    }),
  ),
  {
    // The last, as the system takes its time to remove the image.
    name: 'extents file million holes',
    disk: { args: ['file', IMAGE], image: withHoles(million) },
    client: { program: 'nbdinfo', args: ['--map', '--totals', URI], requests: 2 * million },
    measures: seconds,
    chart: 'other',
  },
]

export const rows: readonly Row[] = [
  ...withFio,
  ...withNbdcopy,
  ...uncached,
  ...withLoad,
  ...ofConnections,
  ...rest,
]
