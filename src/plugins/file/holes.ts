/** Zeroes, trims and finds the holes of an open file or block device. */
import { fstatSync } from 'node:fs'
import { type DeviceInit, type Extent, HOLE, ZERO } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, type Libc } from '../../lib/libc.js'
import { codeOf, isUnsupported, sync, writeInPool } from './bytes.js'

const punch = FALLOC_FL_PUNCH_HOLE + FALLOC_FL_KEEP_SIZE
const zeroes = new Uint8Array(256 * 1024)

/** What there is to work on. */
export interface Target {
  readonly fd: number
  readonly isBlock: boolean
  readonly libc: Libc | undefined
  readonly log: Log
}

/** `zero`, and `trim` where there is a C library. What turned out not to be supported is not tried again. */
export function clearer({ fd, isBlock, libc, log }: Target): Pick<DeviceInit, 'zero' | 'trim'> {
  const unsupported = new Set<string>()

  /** False when it is not supported, for this range or for any. */
  async function attempt(what: string, call: (libc: Libc) => Promise<void>): Promise<boolean> {
    if (libc === undefined || unsupported.has(what)) return false
    try {
      await call(libc)
      return true
    } catch (error) {
      // A block device wants whole sectors.
      if (isBlock && codeOf(error) === 'EINVAL') return false
      if (!isUnsupported(error)) throw error
      unsupported.add(what)
      if (log.debugging) log.debug(`${what} is not supported here (${codeOf(error)})`)
      return false
    }
  }
  const fallocate = (what: string, mode: number, offset: number, length: number) =>
    attempt(what, ({ fallocate }) => fallocate(fd, mode, offset, length))
  const punchHole = (offset: number, length: number) => fallocate('punching holes', punch, offset, length)

  async function zeroFast(offset: number, length: number, mayTrim: boolean, fast: boolean): Promise<boolean> {
    if (mayTrim && (await punchHole(offset, length))) return true
    // For a block device that cannot do it, the kernel writes the zeroes itself. That is good, but not fast.
    const zeroRange = !isBlock || !fast
    if (zeroRange && (await fallocate('zeroing ranges', FALLOC_FL_ZERO_RANGE, offset, length))) return true
    // tmpfs and NFS can do it in two steps.
    if (isBlock || unsupported.has('allocation') || !(await punchHole(offset, length))) return false
    return fallocate('allocation', 0, offset, length)
  }

  const zero: DeviceInit['zero'] = async (offset, length, { mayTrim, fast, fua }) => {
    if (!(await zeroFast(offset, length, mayTrim, fast))) {
      if (fast)
        throw new NbdError('ENOTSUP', `zero ${length} at ${offset}: the zeroes would have to be written`)
      const end = offset + length
      for (let at = offset; at < end; at += zeroes.length)
        await writeInPool(fd, at, zeroes.subarray(0, end - at))
    }
    if (fua) await sync(fd)
  }
  const trim: DeviceInit['trim'] = async (offset, length, { fua }) => {
    if (isBlock) await attempt('discarding', ({ discard }) => discard(fd, offset, length))
    else await punchHole(offset, length)
    if (fua) await sync(fd)
  }
  return libc ? { zero, trim } : { zero }
}

/** Block devices, and some file systems, do not tell where data lies. */
export function tellsHoles(libc: Libc, fd: number): boolean {
  try {
    libc.seekHole(fd, 0)
    return true
  } catch {
    return false
  }
}

/**
 * The runs of data and holes of a range, each looked up when it is asked for. The last may go past the range.
 */
export function* findExtents(
  libc: Libc,
  fd: number,
  size: number,
  offset: number,
  length: number,
): Iterable<Extent> {
  const end = offset + length
  let at = offset
  while (at < end) {
    const data = Math.min(libc.seekData(fd, at) ?? lastHoleEnd(fd, at, size), size)
    if (data > at) yield { length: data - at, type: HOLE | ZERO }
    if (data >= end) return
    // There is none after the end of a file that has shrunk: call that data, so that reading it fails.
    at = Math.min(libc.seekHole(fd, data) ?? size, size)
    // Another request may have punched a hole just there.
    if (at > data) yield { length: at - data, type: 0 }
  }
}

/** Where the hole ends that no data follows: at the end of the disk, unless the file has shrunk. */
function lastHoleEnd(fd: number, at: number, size: number): number {
  return Math.max(at, Math.min(size, fstatSync(fd).size))
}
