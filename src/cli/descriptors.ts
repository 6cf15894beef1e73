/** File descriptors that our parent left open for us, for a copy of the program that is to have them too. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/**
 * Standard input, output and error, and on Linux those above that were inherited, in ascending order. Those
 * of Node itself are told apart by what they are: events, and pipes that have both ends here.
 */
export function inheritedDescriptors(): readonly number[] {
  const open = process.platform === 'linux' ? descriptorsAbove(2) : []
  const isOurPipe = ({ target, writes }: Descriptor) =>
    target.startsWith('pipe:') && open.some((other) => other.target === target && other.writes !== writes)
  const inherited = open.filter((one) => !one.target.startsWith('anon_inode:') && !isOurPipe(one))
  return [0, 1, 2, ...inherited.map(({ fd }) => fd)].sort((a, b) => a - b)
}

interface Descriptor {
  readonly fd: number
  /** A path, or the kind and number of what has no path. */
  readonly target: string
  readonly writes: boolean
}

function descriptorsAbove(last: number): Descriptor[] {
  return readdirSync('/proc/self/fd').flatMap((name) => {
    const fd = Number(name)
    if (fd <= last) return []
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      const [, flags = '0'] = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? []
      return [{ fd, target, writes: (Number.parseInt(flags, 8) & 3) !== 0 }]
    } catch {
      // That by which the folder was read is closed by now.
      return []
    }
  })
}
