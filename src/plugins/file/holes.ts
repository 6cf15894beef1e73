/** Zeroes, trims and finds holes of an open file or block device. */
import { fstat, fstatSync } from 'node:fs'
import { promisify } from 'node:util'
import { type DeviceInit, type Extent, type Extents, HOLE, ZERO } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import { andThen, isPromise, type MaybePromise } from '../../api/maybe.js'
import { codeOf, isUnsupported, sync } from '../../lib/file-bytes.js'
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, type Libc } from '../../os/libc.js'
import type { Patience } from '../../os/patience.js'

const punch = FALLOC_FL_PUNCH_HOLE + FALLOC_FL_KEEP_SIZE

/** The file to work on, and the means for it. */
export interface Target {
  readonly fd: number
  readonly isBlock: boolean
  readonly libc: Libc | undefined
  readonly log: Log
}

/**
 * Returns `zero`, and `trim` where there is a C library. An operation that proved unsupported is not tried
 * again.
 */
export function clearer({ fd, isBlock, libc, log }: Target): Pick<DeviceInit, 'zero' | 'trim'> {
  const unsupported = new Set<string>()

  /** Returns false where the operation is not supported, for this range or for any. */
  async function attempt(what: string, call: (libc: Libc) => Promise<void>): Promise<boolean> {
    if (libc === undefined || unsupported.has(what)) return false
    try {
      await call(libc)
      return true
    } catch (error) {
      // A block device requires whole sectors.
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
    // For a block device that cannot zero, the kernel writes the zeroes itself. That works, but is not fast.
    const zeroRange = !isBlock || !fast
    if (zeroRange && (await fallocate('zeroing ranges', FALLOC_FL_ZERO_RANGE, offset, length))) return true
    // tmpfs and NFS can zero in two steps.
    if (isBlock || unsupported.has('allocation') || !(await punchHole(offset, length))) return false
    return fallocate('allocation', 0, offset, length)
  }

  const zero: DeviceInit['zero'] = async (offset, length, { mayTrim, fast, fua }) => {
    if (!(await zeroFast(offset, length, mayTrim, fast)))
      throw new NbdError('ENOTSUP', `zero ${length} at ${offset}: the zeroes have to be written`)
    if (fua) await sync(fd)
  }
  const trim: DeviceInit['trim'] = async (offset, length, { fua }) => {
    if (isBlock) await attempt('discarding', ({ discard }) => discard(fd, offset, length))
    else await punchHole(offset, length)
    if (fua) await sync(fd)
  }
  return libc ? { zero, trim } : { zero }
}

/** False for block devices and some file systems, which do not report where data lies. */
export async function tellsHoles(libc: Libc, fd: number): Promise<boolean> {
  try {
    await libc.inThread.seekHole(fd, 0)
    return true
  } catch {
    return false
  }
}

/** Limits on the runs looked up on other threads for one reply: their number, and the time in ms. */
const [answerRuns, answerMs] = [16, 20]

/**
 * The runs of data and holes of a range. While lookups do not wait, each run is looked up when it is taken.
 * Where they may wait, a few runs are looked up on another thread, and the client asks again for the rest.
 * The last run may go past the range.
 */
export function findExtents(libc: Libc, patience: Patience, fd: number, size: number): Extents {
  const patiently = <T>(now: () => T, later: () => Promise<T>): MaybePromise<T> => {
    const done = patience.spend(() => ({ value: now() }))
    return done === undefined ? later() : done.value
  }
  const seek = (what: 'seekData' | 'seekHole', from: number) =>
    patiently(
      () => libc[what](fd, from),
      () => libc.inThread[what](fd, from),
    )
  /** The end of a hole that no data follows: the end of the disk, unless the file has shrunk. */
  const lastHoleEnd = (at: number) =>
    andThen(
      patiently(
        () => fstatSync(fd),
        () => fstatLater(fd),
      ),
      (stats) => Math.max(at, Math.min(size, stats.size)),
    )
  /** Up to two runs from `at` on: a hole and the data behind it. Data from `end` on is not looked up. */
  const lookUp = (at: number, end: number): MaybePromise<Extent[]> =>
    andThen(seek('seekData', at), (found) =>
      andThen(found ?? lastHoleEnd(at), (next) => {
        const data = Math.min(next, size)
        const runs: Extent[] = data > at ? [{ length: data - at, type: HOLE | ZERO }] : []
        if (data >= end) return runs
        return andThen(seek('seekHole', data), (hole = size) => {
          // There is no hole after the end of a file that has shrunk. Call that data, so that reading it
          // fails.
          const length = Math.min(hole, size) - data
          // Another request may have punched a hole just there.
          if (length > 0) runs.push({ length, type: 0 })
          return runs
        })
      }),
    )

  function* oneByOne(first: Extent[], offset: number, end: number): Generator<Extent> {
    let at = offset
    for (let runs: MaybePromise<Extent[]> = first; ; runs = lookUp(at, end)) {
      if (isPromise(runs)) {
        // The lookup has to wait, so stop here and ignore its result.
        runs.catch(() => {})
        return
      }
      yield* runs
      for (const { length } of runs) at += length
      if (at >= end) return
    }
  }
  async function aFew(first: MaybePromise<Extent[]>, offset: number, end: number): Promise<Extent[]> {
    const until = performance.now() + answerMs
    const all: Extent[] = []
    let at = offset
    for (let runs = await first; ; runs = await lookUp(at, end)) {
      for (const run of runs) {
        all.push(run)
        at += run.length
      }
      const enough = all.length >= answerRuns || performance.now() >= until
      if (at >= end || (enough && all.length > 0)) return all
    }
  }
  return (offset, length) => {
    const end = offset + length
    const first = lookUp(offset, end)
    return isPromise(first) || first.length === 0 ? aFew(first, offset, end) : oneByOne(first, offset, end)
  }
}

const fstatLater = promisify(fstat)
