/** Drives a server with a client once, and returns the result. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { packageRoot } from '../tests/programs.js'
import { firstLine, launch, run, stop } from './children.js'
import { memoryOf } from './proc.js'
import { pathOf } from './programs.js'
import { type Client, type Contender, type Row, SOURCE, URI } from './row.js'
import { commandOf, type Server } from './servers.js'

export interface Sample {
  /** In the unit of the row. */
  readonly figure: number
  /** Requests during the run, to divide the server's CPU time by; 0 where that makes no sense. */
  readonly requests: number
}

const MiB = 2 ** 20
const loadProgram = join(packageRoot, 'dist', 'bench', 'load.js')

type Of<Name extends Client['program']> = Extract<Client, { program: Name }>

/** `source` is the path of the image that is copied to the disk, where there is one. */
export async function drive(row: Row, server: Server, source: string, seconds: number): Promise<Sample> {
  const { client } = row
  switch (client.program) {
    case 'fio':
      return driveWithFio(client.args, server, seconds)
    case 'load':
      return load([...client.args, `--seconds=${seconds}`], server)
    case 'nbdcopy':
    case 'nbdinfo':
      return driveToTheEnd(client, server, source)
    case 'hold':
      return hold(client, server)
    case 'start':
      throw new Error('a row of starts drives no server')
  }
}

/** Runs the load client, to fill a disk or to load a server. */
export async function load(args: readonly string[], { uri }: Server): Promise<Sample> {
  const text = await run('load', process.execPath, [loadProgram, ...args, uri])
  const result = JSON.parse(text) as { perSecond: number; requests: number }
  return { figure: result.perSecond, requests: result.requests }
}

/** fio runs longer than the load client, because its first requests are slow. */
const fioTimes = 1.6

/** Options that keep the time fio spends on the clock and on choosing blocks as low as possible. */
const fioOptions = ['--group_reporting', '--norandommap', '--randrepeat=0', '--gtod_reduce=1']

async function driveWithFio(args: readonly string[], { uri }: Server, seconds: number): Promise<Sample> {
  const all = ['--name=bench', '--ioengine=nbd', `--uri=${uri}`, '--output-format=json', ...args]
  const time = ['--time_based', `--runtime=${Math.round(seconds * fioTimes * 1000)}ms`]
  const text = await run('fio', pathOf('fio'), [...all, ...fioOptions, ...time])
  return fioSample(text)
}

/** Parses the output of fio, which may begin with warnings. */
export function fioSample(text: string): Sample {
  const { jobs } = JSON.parse(text.slice(text.indexOf('{'))) as {
    jobs: Record<'read' | 'write', { iops: number; total_ios: number }>[]
  }
  const parts = jobs.flatMap(({ read, write }) => [read, write])
  const requests = parts.reduce((sum, part) => sum + part.total_ios, 0)
  if (requests === 0) throw new Error('fio did nothing')
  return { figure: parts.reduce((sum, part) => sum + part.iops, 0), requests }
}

/** The client's whole run time, in seconds. */
async function driveToTheEnd(
  { program, args, requests }: Of<'nbdcopy' | 'nbdinfo'>,
  { uri }: Server,
  source: string,
): Promise<Sample> {
  const words = args.map((word) => (word === URI ? uri : word === SOURCE ? source : word))
  const start = performance.now()
  await run(program, pathOf(program), words)
  return { figure: (performance.now() - start) / 1000, requests }
}

/** Memory of a freshly started server, in MiB. */
async function hold({ args, memory, settleMs }: Of<'hold'>, server: Server): Promise<Sample> {
  const before = memoryOf(server.pid).residentBytes
  const child = launch('load', process.execPath, [loadProgram, '--mode=hold', ...args, server.uri])
  try {
    await firstLine(child, 60_000)
    await sleep(settleMs)
    const { residentBytes, peakBytes } = memoryOf(server.pid)
    return { figure: (memory === 'peak' ? peakBytes : residentBytes - before) / MiB, requests: 0 }
  } finally {
    await stop(child)
  }
}

/** Starts in a row, so that a single disturbed one counts less. */
const starts = 4

/** Time from the command until `true` has run, in milliseconds. */
export async function startUp(contender: Contender, { args }: Row['disk']): Promise<Sample> {
  const [path, ...words] =
    contender === 'node -e 0'
      ? ([process.execPath, '-e', '0'] as const)
      : [...commandOf(contender), '--unix', '-', ...args, '--run', 'true']
  const start = performance.now()
  for (let count = 0; count < starts; count++) await run(contender, path ?? '', words)
  return { figure: (performance.now() - start) / starts, requests: 0 }
}
