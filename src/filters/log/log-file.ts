import { fsPath } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import { LineWriter } from '../../lib/line-writer.js'
import { openOutlet } from '../../lib/outlet.js'
import { droppedLines } from '../../lib/standard-streams.js'

export interface LogFile {
  write(line: string): void
  close(): Promise<void>
}

/** What waits for a slow reader when the server ends has so many ms. */
const lastMs = 1000

/**
 * One file for all connections. Each line is written at once, by the call that logs it: lines are in the
 * order in which things happened, a reply is never sent before its line is in the file, a crash loses none.
 * But nobody waits for a FIFO that is not read, or for a disk that is slow: then lines are kept, and dropped
 * in the end.
 *
 * @throws ConfigError when it cannot be opened.
 */
export async function openLog(path: string, append: boolean, log: Log): Promise<LogFile> {
  const outlet = await openOutlet(fsPath(path), !append).catch((error: unknown) => {
    throw new ConfigError(`log: cannot open the log file: ${messageOf(error)}`, { cause: error })
  })
  const time = clock()
  const writer = new LineWriter(outlet, {
    dropped: (lines) => `${time()} ${droppedLines(lines)}\n`,
    // The client's request is not at fault.
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
