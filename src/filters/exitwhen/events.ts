/** What can happen elsewhere, and how it is seen. */
import { fstatSync, readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Socket } from 'node:net'
import { fsPath } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import type { MaybePromise } from '../../api/maybe.js'
import { runScript } from '../../lib/run-script.js'

/** Looks whether it has happened. It never throws: what cannot be told has not happened. */
export type Event = () => MaybePromise<boolean>

export function fileCreated(path: string, log: Log): Event {
  return async () => (await exists(path, log)) === true
}

export function fileDeleted(path: string, log: Log): Event {
  return async () => (await exists(path, log)) === false
}

async function exists(path: string, log: Log): Promise<boolean | undefined> {
  try {
    await stat(fsPath(path))
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return false
    log.error(`cannot tell whether ${path} exists: ${messageOf(error)}`)
    return undefined
  }
}

/** @throws ConfigError when there is no such process to begin with. */
export function processExited(pid: number): Event {
  const first = life(pid)
  if (first === undefined)
    throw new ConfigError(`exitwhen: exit-when-process-exits: there is no process ${pid}`)
  return () => life(pid) !== first
}

/** What tells a process from a later one of the same number; undefined when it has ended. */
function life(pid: number): string | undefined {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it is there, and another user's.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return undefined
  }
  try {
    // Linux: "number (name) state …", the name being anything at all; the 22nd word is when it started.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state = '', ...words] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return 'ZX'.includes(state) ? undefined : `started ${words[18]}`
  } catch {
    return 'somebody'
  }
}

/** By its exit status: 88 is yes, 0 is no, and anything else is an error, and no. */
export function scriptSays(script: string, log: Log): Event {
  return async () => {
    try {
      const { status, signal } = await runScript(script)
      if (status !== 0 && status !== 88)
        log.error(`exit-when-script: it ended with ${signal ?? `status ${status}`}, expected 0 or 88`)
      return status === 88
    } catch (error) {
      log.error(`exit-when-script: it cannot be run: ${messageOf(error)}`)
      return false
    }
  }
}

/** The other end of a pipe: seen as soon as it is closed. What comes through the pipe is thrown away. */
export class PipeEnd {
  #closed = false
  readonly #socket: Socket

  /** @throws ConfigError when the descriptor is no pipe. */
  constructor(fd: number, onClosed: () => void) {
    if (!isPipe(fd))
      throw new ConfigError(`exitwhen: exit-when-pipe-closed: file descriptor ${fd} is not a pipe of ours`)
    this.#socket = new Socket({ fd, readable: true, writable: false })
    this.#socket
      .on('error', () => {})
      .on('close', () => {
        this.#closed = true
        onClosed()
      })
      .resume()
      .unref()
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Closes our end. */
  end(): void {
    this.#socket.destroy()
  }
}

function isPipe(fd: number): boolean {
  try {
    const stat = fstatSync(fd)
    return stat.isFIFO() || stat.isSocket()
  } catch {
    return false
  }
}
