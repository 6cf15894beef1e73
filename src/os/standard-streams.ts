/** Standard output and error, which may have no reader. */
import { LineWriter, type Outlet } from './line-writer.js'
import { outletTo } from './outlet.js'

const writers = new Map<1 | 2, LineWriter>()
/** Time to write the remaining lines when the process ends, in ms. */
const lastMs = 1000

/** Writes at once without waiting. Lines that are not read are finally dropped and counted. */
export function writeStandard(fd: 1 | 2, text: string | Uint8Array): void {
  let writer = writers.get(fd)
  if (writer === undefined) {
    if (writers.size === 0) process.once('exit', endStandard)
    writer = new LineWriter(outletOf(fd), { dropped: (lines) => `nbdkit-ts: ${droppedLines(lines)}\n` })
    writers.set(fd, writer)
  }
  writer.write(text)
}

/** The message about dropped lines. */
export function droppedLines(lines: number): string {
  return `${lines} ${lines === 1 ? 'line was' : 'lines were'} dropped: nobody has read what was written before`
}

/**
 * Called before the descriptors become other files: gives waiting lines a moment, and closes our own copies.
 */
export function endStandard(): void {
  for (const writer of writers.values()) {
    writer.flush(lastMs)
    writer.discard()
  }
  writers.clear()
}

/** A closed descriptor has no reader. */
function outletOf(fd: number): Outlet {
  try {
    return outletTo(fd)
  } catch {
    return { now: (bytes) => bytes.length, close() {} }
  }
}
