/** The events that can stop the server, and how to detect each. */
import { fstatSync, readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Socket } from 'node:net'
import { fsPath } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import type { MaybePromise } from '../../api/maybe.js'
import { runScript } from '../../os/run-script.js'

/**
 * Checks whether the event has happened. Never throws: where that cannot be determined, it has not happened.
 */
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

/** @throws ConfigError where there is no such process at the start. */
export function processExited(pid: number): Event {
  const first = life(pid)
  if (first === undefined)
    throw new ConfigError(`exitwhen: exit-when-process-exits: there is no process ${pid}`)
  return () => life(pid) !== first
}

/**
 * Identifies a process, to tell it from a later one with the same number. Undefined when the process has
 * ended.
 */
function life(pid: number): string | undefined {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: the process exists and belongs to another user.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return undefined
  }
  try {
    // Linux: "number (name) state …", where the name may be anything. The 22nd word is the start time.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state = '', ...words] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return 'ZX'.includes(state) ? undefined : `started ${words[18]}`
  } catch {
    return 'somebody'
  }
}

/**
 * Asks a script by its exit status: 88 means yes, 0 means no. Anything else is logged as an error and means
 * no.
 */
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

/**
 * Watches the other end of a pipe, and notices at once when it is closed. Data from the pipe is discarded.
 */
export class PipeEnd {
  #closed = false
  readonly #socket: Socket

  /** @throws ConfigError where the descriptor is not a pipe. */
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
