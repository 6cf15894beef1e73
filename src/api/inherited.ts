/** Tells the file descriptors that the process was started with from those that Node opened for itself. */
import { fstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { devNull } from 'node:os'

/** Undefined in a program that embeds a server, which may have opened any of its descriptors. */
let remembered: readonly number[] | undefined

/** Records the inherited descriptors. The program calls this in each thread before it opens anything. */
export function rememberInherited(descriptors = inheritedDescriptors()): void {
  remembered = descriptors
}

/** The inherited descriptors, to be remembered by another thread. */
export function inheritedAtStart(): readonly number[] {
  return remembered ?? inheritedDescriptors()
}

/**
 * Why a parameter cannot name this descriptor; undefined where it can. Every part that takes a descriptor
 * from a user checks here first. A descriptor of Node itself is open as well, and reading or closing it
 * breaks the process.
 */
export function whyNotInherited(fd: number): string | undefined {
  const advice = 'the process that starts the server must leave it open for it'
  if (!isOpen(fd)) return `file descriptor ${fd} is not open: ${advice}`
  // Only Linux lists the descriptors of a process.
  if (process.platform !== 'linux') return undefined
  return inheritedAtStart().includes(fd) ? undefined : `file descriptor ${fd} was not inherited: ${advice}`
}

/**
 * Standard input, output and error, and on Linux the higher descriptors that were open at the start, in
 * ascending order. The kernel does not tell who opened a descriptor, and Node marks all of them
 * close-on-exec. So Node's own are recognised by kind: events, pipes that have both ends in this process, and
 * the null device.
 */
export function inheritedDescriptors(): readonly number[] {
  const open = descriptorsAbove(2)
  const hasBothEndsHere = ({ target, writes }: Descriptor) =>
    target.startsWith('pipe:') && open.some((other) => other.target === target && other.writes !== writes)
  const isOfNode = (one: Descriptor) =>
    one.target.startsWith('anon_inode:') || one.target === devNull || hasBothEndsHere(one)
  const inherited = open.filter((one) => !isOfNode(one)).map(({ fd }) => fd)
  return [0, 1, 2, ...inherited].sort((a, b) => a - b)
}

interface Descriptor {
  readonly fd: number
  /** A path, or the kind and number of an object without a path. */
  readonly target: string
  readonly writes: boolean
}

function descriptorsAbove(last: number): Descriptor[] {
  return openDescriptors().flatMap((fd) => {
    if (fd <= last) return []
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      const [, flags = '0'] = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? []
      return [{ fd, target, writes: (Number.parseInt(flags, 8) & 3) !== 0 }]
    } catch {
      // The descriptor that read the folder is closed by now.
      return []
    }
  })
}

/** Empty without a proc file system: such a system has no other way to tell. */
function openDescriptors(): readonly number[] {
  try {
    return readdirSync('/proc/self/fd').map(Number)
  } catch {
    return []
  }
}

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd)
    return true
  } catch {
    return false
  }
}
