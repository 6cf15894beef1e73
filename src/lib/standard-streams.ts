/** Standard output and error, which nobody may be reading. */
import { LineWriter, type Outlet } from './line-writer.js'
import { outletTo } from './outlet.js'

const writers = new Map<1 | 2, LineWriter>()
/** What is left when the process ends has so many ms. */
const lastMs = 1000

/** Writes at once, and waits for nobody: lines that nobody takes are dropped in the end, and counted. */
export function writeStandard(fd: 1 | 2, text: string | Uint8Array): void {
  let writer = writers.get(fd)
  if (writer === undefined) {
    if (writers.size === 0) process.once('exit', endStandard)
    writer = new LineWriter(outletOf(fd), { dropped: (lines) => `nbdkit-ts: ${droppedLines(lines)}\n` })
    writers.set(fd, writer)
  }
  writer.write(text)
}

/** How lines that were dropped are told of. */
export function droppedLines(lines: number): string {
  return `${lines} ${lines === 1 ? 'line was' : 'lines were'} dropped: nobody has read what was written before`
}

/** Before the descriptors become other files: what waits is given a moment, and our own copies are closed. */
export function endStandard(): void {
  for (const writer of writers.values()) {
    writer.flush(lastMs)
    writer.discard()
  }
  writers.clear()
}

/** A descriptor that is not open has nobody who could read. */
function outletOf(fd: number): Outlet {
  try {
    return outletTo(fd)
  } catch {
    return { now: (bytes) => bytes.length, close() {} }
  }
}
