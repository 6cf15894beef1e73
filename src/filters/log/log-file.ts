import { constants, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { fsPath } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import type { Log } from '../../api/log.js'

export interface LogFile {
  write(line: string): void
  close(): Promise<void>
}

/**
 * One file for all connections. Each line is written at once, by the call that logs it: lines are in the
 * order in which things happened, a reply is never sent before its line is in the file, a crash loses none.
 *
 * @throws ConfigError when it cannot be opened.
 */
export async function openLog(path: string, append: boolean, log: Log): Promise<LogFile> {
  const { O_WRONLY, O_CREAT, O_APPEND, O_TRUNC } = constants
  let file: FileHandle | undefined
  try {
    // Lines go to the end in either case: the file may be shared, or be emptied while the server runs.
    file = await open(fsPath(path), O_WRONLY | O_CREAT | O_APPEND | (append ? 0 : O_TRUNC))
  } catch (error) {
    throw new ConfigError(`log: cannot open the log file: ${messageOf(error)}`, { cause: error })
  }
  const time = clock()
  let failing = false
  return {
    write(line) {
      // A callback that was stuck may settle after the end, when the descriptor can be another file's.
      if (!file) return
      try {
        writeFileSync(file.fd, `${time()} ${line}\n`)
        failing = false
      } catch (error) {
        // The client's request is not at fault.
        if (!failing)
          log.error(`cannot write to ${path}, lines are missing from here on: ${messageOf(error)}`)
        failing = true
      }
    },
    async close() {
      const closing = file
      file = undefined
      await closing?.close()
    },
  }
}

/** The time in UTC. Date has no microseconds, and `performance` does not follow when the clock is set. */
function clock(): () => string {
  let ahead = 0
  return () => {
    const wall = Date.now()
    const counter = performance.now()
    const time = Math.min(Math.max(ahead + counter, wall), wall + 0.999)
    ahead = time - counter
    const micros = Math.floor((time - wall) * 1000)
    const text = new Date(wall).toISOString()
    return `${text.slice(0, 10)} ${text.slice(11, 23)}${String(micros).padStart(3, '0')}`
  }
}
