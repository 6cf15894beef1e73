/** Writing to a file, a pipe, a terminal or a socket without waiting. */
import { closeSync, constants, fstatSync, openSync, write, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { isRemote } from './file-system.js'
import { libc } from './libc.js'
import type { Outlet } from './line-writer.js'
import { noPatience, Patience } from './patience.js'

const { O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK, O_RDWR, O_TRUNC, O_WRONLY } = constants

/**
 * Opens a file for appending. A FIFO is also opened for reading, so that opening does not wait for a reader
 * and readers may come and go. The FIFO keeps unread bytes as far as it has room.
 *
 * @throws Error as Node's `open` does.
 */
export async function openOutlet(path: string | Buffer, truncate: boolean): Promise<Outlet> {
  const flags = O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | (truncate ? O_TRUNC : 0)
  const handle = await open(path, flags | O_WRONLY).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENXIO') throw error
    // A FIFO without a reader. (A socket fails here, too.)
    return open(path, flags | O_RDWR)
  })
  const stats = await handle.stat()
  const close = () => void handle.close().catch(() => {})
  if (!stats.isFile()) return { ...notWaiting(handle.fd), close }
  return { ...patient(handle.fd, (await isRemote(handle.fd)) ? noPatience : new Patience()), close }
}

/**
 * An outlet to an open descriptor that other processes share. The descriptor is opened again, because they
 * decide whether the shared one blocks.
 */
export function outletTo(fd: number): Outlet {
  const stats = fstatSync(fd)
  const close = () => {}
  if (stats.isFile()) return { ...patient(fd, new Patience()), close }
  const sends = stats.isSocket() ? libc() : undefined
  if (sends) return { now: (bytes) => sends.sendNoWait(fd, bytes), close }
  const own = stats.isSocket() ? undefined : openAnew(fd)
  if (own !== undefined) return { ...notWaiting(own), close: () => closeSync(own) }
  // Where blocking cannot be avoided, another thread writes.
  return { now: (bytes, atLast) => (atLast ? writeSync(fd, bytes) : undefined), later: inPool(fd), close }
}

/** Undefined without a proc file system, or without permission. */
function openAnew(fd: number): number | undefined {
  try {
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY)
  } catch {
    return undefined
  }
}

function notWaiting(fd: number): Pick<Outlet, 'now'> {
  return {
    now(bytes) {
      try {
        return writeSync(fd, bytes)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined
        throw error
      }
    },
  }
}

/** A file, whose disk may be slow. */
function patient(fd: number, patience: Patience): Pick<Outlet, 'now' | 'later'> {
  return {
    now: (bytes, atLast) => (atLast ? writeSync(fd, bytes) : patience.spend(() => writeSync(fd, bytes))),
    later: inPool(fd),
  }
}

function inPool(fd: number) {
  return (bytes: Uint8Array) =>
    new Promise<void>((resolve, reject) => {
      const next = (rest: Uint8Array) =>
        write(fd, rest, (error, count) => {
          if (error) reject(error)
          else if (count < rest.length) next(rest.subarray(count))
          else resolve()
        })
      next(bytes)
    })
}
