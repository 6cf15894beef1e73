/**
 * Data that Linux has about a process (proc(5)): for all its threads together, including those that have
 * ended.
 */
import { readdirSync, readFileSync } from 'node:fs'

/** The kernel counts in ticks of this length. */
const tickUs = 10_000
const KiB = 1024

/** CPU time that a process and its children have used, in user mode and in the kernel, in microseconds. */
export function cpuUs(pid: number): number {
  const own = cpuUsIn(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  return childrenOf(pid).reduce((sum, child) => sum + cpuUs(child), own)
}

/** The running children. */
function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    try {
      const text = readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8')
      return text.split(' ').filter(Boolean).map(Number)
    } catch {
      // The thread has ended meanwhile, and its children belong to another.
      return []
    }
  })
}

/**
 * Parses /proc/PID/stat, including the time of children that have ended. A program's name may contain blanks
 * and brackets: it ends at the last bracket.
 */
export function cpuUsIn(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = fields.slice(11, 15).map(Number)
  return ticks.reduce((sum, count) => sum + count) * tickUs
}

export interface Memory {
  readonly residentBytes: number
  readonly peakBytes: number
}

export function memoryOf(pid: number): Memory {
  return memoryIn(readFileSync(`/proc/${pid}/status`, 'utf8'))
}

/** Parses the text of /proc/PID/status. */
export function memoryIn(status: string): Memory {
  const field = (name: string) => {
    const [, digits] = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status) ?? []
    if (digits === undefined) throw new Error(`/proc tells no ${name}: the process has ended`)
    return Number(digits) * KiB
  }
  return { residentBytes: field('VmRSS'), peakBytes: field('VmHWM') }
}
