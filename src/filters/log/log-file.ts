import { fsPath } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import { LineWriter } from '../../os/line-writer.js'
import { openOutlet } from '../../os/outlet.js'
import { droppedLines } from '../../os/standard-streams.js'

export interface LogFile {
  write(line: string): void
  close(): Promise<void>
}

/** Time for a slow reader to take the remaining lines when the server ends, in ms. */
const lastMs = 1000

/**
 * One file for all connections. The call that logs a line writes it at once. Lines are thus in order, a reply
 * is never sent before its line is in the file, and a crash loses none. A FIFO that is not read, or a slow
 * disk, does not block: lines are kept, and finally dropped.
 *
 * @throws ConfigError when the file cannot be opened.
 */
export async function openLog(path: string, append: boolean, log: Log): Promise<LogFile> {
  const outlet = await openOutlet(fsPath(path), !append).catch((error: unknown) => {
    throw new ConfigError(`log: cannot open the log file: ${messageOf(error)}`, { cause: error })
  })
  const time = clock()
  const writer = new LineWriter(outlet, {
    dropped: (lines) => `${time()} ${droppedLines(lines)}\n`,
    // The client's request must not fail for this.
    failed: (problem) => log.error(`cannot write to ${path}, lines are missing from here on: ${problem}`),
  })
  return {
    write: (line) => writer.write(`${time()} ${line}\n`),
    close: () => writer.close(lastMs),
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
