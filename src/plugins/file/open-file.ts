/** Opens the files to serve, and refuses those that cannot be served. */
import { close, fstat, open, read, type Stats, write } from 'node:fs'
import { stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { fsPath } from '../../api/byte-text.js'
import { ConfigError, messageOf, NbdError } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import { codeOf } from '../../lib/file-bytes.js'
import type { Libc } from '../../os/libc.js'

/** An open regular file or block device. */
export interface OpenFile {
  readonly fd: number
  readonly isBlock: boolean
  readonly writable: boolean
  /** True where the user of the file has to close it. */
  readonly owned: boolean
}

// None of these run on the event loop: each may wait for a disk.
const openFd = promisify(open)
const fstatFd = promisify(fstat)
const readFd = promisify(read)
const writeFd = promisify(write)
export const closeFd = promisify(close)

/** Why a file of this kind cannot be served; undefined where it can. */
export function whyNot(stats: Stats): string | undefined {
  return stats.isFile() || stats.isBlockDevice()
    ? undefined
    : 'it is neither a regular file nor a block device'
}

/**
 * Opens a file for reading and writing, or only for reading where `readOnly` is set or the file is not
 * writable. Messages to the client use `name`, and never a path of this machine.
 *
 * @throws NbdError when the file cannot be opened or served.
 */
export async function openPath(path: string, name: string, readOnly: boolean, log: Log): Promise<OpenFile> {
  try {
    // Check before opening: opening a pipe would wait for its other end.
    refuseOthers(await stat(fsPath(path)))
    const { fd, writable } = readOnly
      ? { fd: await openFd(fsPath(path), 'r'), writable: false }
      : await openWritable(path, log)
    try {
      const stats = await fstatFd(fd)
      refuseOthers(stats)
      return { fd, writable, isBlock: stats.isBlockDevice(), owned: true }
    } catch (error) {
      await closeFd(fd)
      throw error
    }
  } catch (error) {
    if (log.debugging) log.debug(`open ${path}: ${messageOf(error)}`)
    const code = codeOf(error)
    const reason =
      code === 'ENOENT' ? 'there is no such file' : `cannot be served: ${code ?? messageOf(error)}`
    throw new NbdError('EIO', `${name}: ${reason}`, { cause: error })
  }
}

function refuseOthers(stats: Stats): void {
  const reason = whyNot(stats)
  if (reason !== undefined) throw new Error(reason)
}

async function openWritable(path: string, log: Log): Promise<{ fd: number; writable: boolean }> {
  try {
    return { fd: await openFd(fsPath(path), 'r+'), writable: true }
  } catch (error) {
    const code = codeOf(error)
    if (code === undefined || !['EACCES', 'EPERM', 'EROFS', 'ETXTBSY'].includes(code)) throw error
    if (log.debugging) log.debug(`${path} cannot be written (${code}): it is served read-only`)
    return { fd: await openFd(fsPath(path), 'r'), writable: false }
  }
}

/**
 * Uses a descriptor that was inherited, or that the embedding program opened. It stays theirs to close.
 *
 * @throws ConfigError when the descriptor is not open, is no file, or cannot be read.
 */
export async function adoptFd(fd: number): Promise<OpenFile> {
  const stats = await inspectFd(fd, `fd=${fd}`)
  const reason = whyNot(stats)
  if (reason !== undefined) throw new ConfigError(`file: fd=${fd} cannot be served: ${reason}`)
  const allows = (call: Promise<unknown>) =>
    call.then(
      () => true,
      (error: unknown) => codeOf(error) !== 'EBADF',
    )
  const byte = new Uint8Array(1)
  if (!(await allows(readFd(fd, byte, 0, 1, 0))))
    throw new ConfigError(`file: fd=${fd} cannot be served: it is open for writing alone`)
  const writable = await allows(writeFd(fd, byte, 0, 0, 0))
  return { fd, writable, isBlock: stats.isBlockDevice(), owned: false }
}

/** @throws ConfigError when the descriptor is not open. */
export async function inspectFd(fd: number, parameter: string): Promise<Stats> {
  try {
    return await fstatFd(fd)
  } catch (error) {
    throw new ConfigError(`file: ${parameter} is no open file descriptor: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/**
 * The size in bytes. `stat` does not report it for a block device: without the C library, reading finds the
 * end.
 */
export async function sizeOf({ fd, isBlock }: OpenFile, libc: Libc | undefined): Promise<number> {
  if (!isBlock) return (await fstatFd(fd)).size
  if (libc) return libc.seekEnd(fd)
  const byte = new Uint8Array(1)
  let [low, high] = [0, Number.MAX_SAFE_INTEGER]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if ((await readFd(fd, byte, 0, 1, middle)).bytesRead === 1) low = middle + 1
    else high = middle
  }
  return low
}
