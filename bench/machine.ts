/** The machine and versions of a measurement: figures mean nothing without them. */
import { cpus, release, totalmem } from 'node:os'
import { findProgram } from '../tests/programs.js'
import { run } from './children.js'
import { pathOf } from './programs.js'

export interface Machine {
  readonly date: string
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
  readonly nbdkit: string
}

export async function machine(): Promise<Machine> {
  const version =
    findProgram('nbdkit') === undefined ? '' : await run('nbdkit', pathOf('nbdkit'), ['--version'])
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    // Without the name that the kernel's builder added.
    kernel: /^\d+(\.\d+)*/.exec(release())?.[0] ?? release(),
    node: process.version,
    nbdkit: /nbdkit (\S+)/.exec(version)?.[1] ?? 'none',
  }
}

export function sentence({ date, cpu, cores, memoryGiB, kernel, node, nbdkit }: Machine): string {
  const cpuAndMemory = `${cpu}, ${cores} cores, ${memoryGiB} GiB`
  return `Measured on ${date}: ${cpuAndMemory}, Linux ${kernel}, Node ${node}, nbdkit ${nbdkit}.`
}
