/** File descriptors that the process was started with, told apart from those that Node opened for itself. */
import { fstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { devNull } from 'node:os'

/** Undefined in a program that embeds a server: such a program may have opened any of its descriptors. */
let remembered: readonly number[] | undefined

/** Called by the program in each thread, before anything is opened: a later descriptor is not inherited. */
export function rememberInherited(descriptors = inheritedDescriptors()): void {
  remembered = descriptors
}

/** For another thread, which remembers the same. */
export function inheritedAtStart(): readonly number[] {
  return remembered ?? inheritedDescriptors()
}

/**
 * Why a parameter cannot name this descriptor; undefined where it can.
 * Every part that takes the number of a descriptor from a user asks here first: a descriptor of Node itself
 * is open as well, and to read or to close it breaks the process.
 */
export function whyNotInherited(fd: number): string | undefined {
  const advice = 'the process that starts the server must leave it open for it'
  if (!isOpen(fd)) return `file descriptor ${fd} is not open: ${advice}`
  // Only Linux lists the descriptors of a process.
  if (process.platform !== 'linux') return undefined
  return inheritedAtStart().includes(fd) ? undefined : `file descriptor ${fd} was not inherited: ${advice}`
}

/**
 * Standard input, output and error, and on Linux those above that were open at the start, in ascending order.
 * The kernel does not tell who opened a descriptor, and Node marks all of them close-on-exec, so those of
 * Node are known by their kind: events, pipes that have both ends here, and the null device.
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
  /** A path, or the kind and number of what has no path. */
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
      // That by which the folder was read is closed by now.
      return []
    }
  })
}

/** None where there is no proc file system: such a system has no other way to tell. */
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
