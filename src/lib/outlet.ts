/** Ways to write to a file, a pipe, a terminal or a socket without a wait. */
import { closeSync, constants, fstatSync, openSync, write, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { isRemote } from './file-system.js'
import { libc } from './libc.js'
import type { Outlet } from './line-writer.js'
import { noPatience, Patience } from './patience.js'

const { O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK, O_RDWR, O_TRUNC, O_WRONLY } = constants

/**
 * Opens a file to write to its end. A FIFO is opened for reading too: so nobody waits until it has a reader,
 * and readers may come and go; what was written meanwhile is kept as far as the FIFO has room.
 *
 * @throws Error as `open` of Node does.
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
 * The way to a descriptor that is open already, and that others have too: whether it waits is theirs to say,
 * so it is opened anew.
 */
export function outletTo(fd: number): Outlet {
  const stats = fstatSync(fd)
  const close = () => {}
  if (stats.isFile()) return { ...patient(fd, new Patience()), close }
  const sends = stats.isSocket() ? libc() : undefined
  if (sends) return { now: (bytes) => sends.sendNoWait(fd, bytes), close }
  const own = stats.isSocket() ? undefined : openAnew(fd)
  if (own !== undefined) return { ...notWaiting(own), close: () => closeSync(own) }
  // What cannot be asked whether it waits is left to another thread, which may.
  return { now: (bytes, atLast) => (atLast ? writeSync(fd, bytes) : undefined), later: inPool(fd), close }
}

/** Undefined where there is no proc file system, or it does not let us. */
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

/** A file: its disk may be slow. */
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
