/** Rows that belong to no series: connections, filters, TCP, start, extents, and memory limits. */
import { file, fillAll, load, million, nothing, smallMemory, withHoles } from './disks.js'
import {
  connectionsPerSecond,
  IMAGE,
  mebibytes,
  milliseconds,
  perSecond,
  type Row,
  seconds,
  URI,
} from './row.js'

/** Both ends are compiled while they run. The warm-up lets them reach their final speed. */
const ofConnections: Row[] = [1, 4].map((clients) => ({
  name: `load null connect clients ${clients}`,
  disk: { ...nothing, prepare: ['--mode=connect', '--connections=4', '--seconds=2'] },
  client: { program: 'load', args: ['--mode=connect', `--connections=${clients}`, '--warm-up=0.5'] },
  measures: connectionsPerSecond,
  quick: clients === 1,
  chart: 'other',
}))

const fiveFilters = Array<string>(5).fill('--filter=nofilter')

export const otherRows: readonly Row[] = [
  ...ofConnections,
  {
    name: 'load five-filters memory read 4K depth 64',
    disk: { ...smallMemory, args: [...fiveFilters, ...smallMemory.args] },
    client: load('read', '4K', 64),
    measures: perSecond,
    others: ['no filters'],
    quick: true,
    chart: 'other',
  },
  ...['read', 'write'].map((mode) => ({
    name: `load workers memory ${mode} 4K connections 4 depth 16`,
    disk: { ...smallMemory, ours: ['--workers=auto'] },
    client: load(mode, '4K', 16, 4),
    measures: perSecond,
    chart: 'load workers',
  })),
  {
    name: 'load workers file read 256K connections 4 depth 4',
    disk: { ...file, ours: ['--workers=auto'] },
    client: load('read', '256K', 4, 4),
    measures: perSecond,
    chart: 'load workers',
  },
  ...['read', 'write'].map((mode) => ({
    name: `load cow memory ${mode} 4K depth 64`,
    disk: { ...smallMemory, args: ['--filter=cow', ...smallMemory.args] },
    client: load(mode, '4K', 64),
    measures: perSecond,
    chart: 'load filters' as const,
  })),
  {
    name: 'load tcp memory read 4K depth 64',
    disk: { ...smallMemory, tcp: true },
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
    // nbdkit allocates memory in units of 32 KiB. With less space between the data, its disk would be one
    // run.
    name: 'extents memory 262144 holes',
    disk: {
      args: ['memory', '16G'],
      prepare: ['--mode=write', '--step=64K', '--depth=64', '--sequential', '--count=262144'],
    },
    client: { program: 'nbdinfo', args: ['--map', '--totals', URI], requests: million / 2 },
    measures: seconds,
    chart: 'other',
  },
  ...[
    { name: 'memory', disk: { args: ['memory', '64M'], prepare: fillAll(64) } },
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
    // Last, because the system takes time to remove the image.
    name: 'extents file million holes',
    disk: { args: ['file', IMAGE], image: withHoles(million) },
    client: { program: 'nbdinfo', args: ['--map', '--totals', URI], requests: 2 * million },
    measures: seconds,
    chart: 'other',
  },
]
