/**
 * Reads and writes the bytes of a file: on the event loop where that does not wait, else in the thread pool.
 */
import { fdatasync, read, readSync, write, writeSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'
import type { Device } from '../../api/device.js'
import { NbdError } from '../../api/errors.js'
import type { MaybePromise } from '../../api/maybe.js'
import type { Libc } from '../../lib/libc.js'
import type { Patience } from '../../lib/patience.js'
import type { PolledReads } from './polled-reads.js'

/**
 * Up to this many bytes are copied on the event loop. 256 KiB, one request at a time, are twice as fast there
 * as through the thread pool; with several in flight it is even, for a fifth less of the processor. From 512
 * KiB on the pool wins then, by up to a sixth: it copies one request while another is sent or received. Where
 * several threads serve, they copy at the same time without the pool.
 */
const onLoopMax = isMainThread ? 256 * 1024 : 1024 * 1024

/** What there is to read with on the event loop: one of each for all files that share it. */
export interface ReaderOptions {
  readonly libc: Libc | undefined
  readonly patience: Patience
  /** Undefined: what is not in the page cache is left to the thread pool. */
  readonly polledReads: PolledReads | undefined
}

/**
 * The `read` of a file: what the page cache holds comes at once, what the disk holds is polled for, or comes
 * from the thread pool. The kernel tells which is which (RWF_NOWAIT), and starts to read ahead when it says
 * no. tmpfs and network file systems do not tell, and without `libc` nobody can be asked: there the event
 * loop is tried, with patience. Through the pool, 4 KiB of the page cache cost 6 us and more in place of 0.8.
 */
export function reader(fd: number, { libc, patience, polledReads }: ReaderOptions): Device['read'] {
  let teller = libc
  const readCached = (target: Uint8Array, offset: number): number => {
    if (teller !== undefined) {
      try {
        return Math.max(0, teller.preadNoWait(fd, target, offset))
      } catch (error) {
        if (!isUnsupported(error)) throw error
        teller = undefined
      }
    }
    return patience.spend(() => readSync(fd, target, 0, target.length, offset)) ?? 0
  }
  return (offset, length, alloc) => {
    const target = alloc(length, 'uninitialized')
    if (length > onLoopMax) return readRest(fd, target, offset, 0)
    const done = readCached(target, offset)
    if (done === length) return target
    const polled = teller && polledReads?.finish(fd, target, offset, done)
    return polled
      ? polled.then((all) => (all === length ? target : readRest(fd, target, offset, all)))
      : readRest(fd, target, offset, done)
  }
}

function readRest(fd: number, target: Uint8Array, offset: number, done: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const length = target.length
    const next = () =>
      read(fd, target, done, length - done, offset + done, (error, count) => {
        if (error) return reject(error)
        if (count === 0) {
          const end = `the file ends at ${offset + done}`
          return reject(new NbdError('EIO', `read ${length} at ${offset}: unexpected end of file: ${end}`))
        }
        done += count
        if (done === length) resolve(target)
        else next()
      })
    next()
  })
}

/**
 * Writes all of `data`, into the page cache. The event loop is tried, with patience: a write waits when the
 * kernel has too much to write out already, or when it must read the rest of a page from the disk first.
 */
export function writer(
  fd: number,
  patience: Patience,
): (offset: number, data: Uint8Array) => MaybePromise<void> {
  return (offset, data) => {
    const { length } = data
    let done = 0
    if (length <= onLoopMax) {
      done = patience.spend(() => writeSync(fd, data, 0, length, offset)) ?? 0
      if (done === length) return undefined
    }
    return writeInPool(fd, offset, data, done)
  }
}

/** Writes what follows the first `done` bytes of `data`, all of it. */
export function writeInPool(fd: number, offset: number, data: Uint8Array, done = 0): Promise<void> {
  return new Promise((resolve, reject) => {
    const next = () =>
      write(fd, data, done, data.length - done, offset + done, (error, count) => {
        if (error) return reject(error)
        done += count
        if (done === data.length) resolve()
        else next()
      })
    next()
  })
}

/** Makes durable what was written to the file, through this descriptor or any other. */
export function sync(fd: number): Promise<void> {
  return new Promise((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve())))
}

/** True for the errors that mean: this file system or device never does that. */
export function isUnsupported(error: unknown): boolean {
  const code = codeOf(error)
  return code !== undefined && ['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'ENODEV', 'ENOTTY'].includes(code)
}

export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code
}
