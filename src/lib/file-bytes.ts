/**
 * Reads and writes the bytes of a file: on the event loop where that does not wait, else in the thread pool.
 */
import { fdatasync, read, readSync, write, writeSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'
import type { Device } from '../api/device.js'
import { NbdError } from '../api/errors.js'
import type { MaybePromise } from '../api/maybe.js'
import type { Libc } from '../os/libc.js'
import type { Patience } from '../os/patience.js'

/**
 * Up to this many bytes are copied on the event loop. For 256 KiB, one request at a time, the loop is twice
 * as fast as the thread pool. With several requests in flight both are equal, and the loop uses a fifth less
 * CPU. From 512 KiB on, the pool then wins by up to a sixth, because it copies one request while another is
 * sent or received. Where several threads serve, they copy at the same time without the pool.
 */
const onLoopMax = isMainThread ? 256 * 1024 : 1024 * 1024

/** Polls for data that is not in the page cache, for a moment (plugins/file/polled-reads.ts). */
export interface Polling {
  finish(fd: number, target: Uint8Array, offset: number, done: number): Promise<number> | undefined
}

/** The means to read on the event loop: one of each for all files that share the loop. */
export interface ReaderOptions {
  readonly libc: Libc | undefined
  readonly patience: Patience
  /** Undefined: the thread pool reads data that is not in the page cache. */
  readonly polledReads: Polling | undefined
}

/**
 * Returns the `read` of a file. Data in the page cache is returned at once. Data on the disk is polled for,
 * or read by the thread pool. The kernel tells which is which (RWF_NOWAIT), and starts reading ahead when the
 * data is not cached. tmpfs and network file systems do not tell, nor does any system without `libc`: there
 * the event loop is tried, with patience. Through the pool, 4 KiB from the page cache cost 6 us and more,
 * instead of 0.8 us.
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
 * Returns a function that writes all of `data` into the page cache. It tries the event loop, with patience: a
 * write waits when the kernel already has too much to write out, or must first read the rest of a page from
 * the disk.
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

/** Writes all of `data` after the first `done` bytes. */
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

/** Makes writes to the file durable, through this descriptor or any other. */
export function sync(fd: number): Promise<void> {
  return new Promise((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve())))
}

/** True for errors which mean that this file system or device never supports the call. */
export function isUnsupported(error: unknown): boolean {
  const code = codeOf(error)
  return code !== undefined && ['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'ENODEV', 'ENOTTY'].includes(code)
}

export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code
}
