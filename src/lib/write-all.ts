import { writeSync } from 'node:fs'

/** How long a reader may keep us waiting, in ms: a full pipe that nobody reads must not stop the server. */
const patienceMs = 1000

/**
 * Writes all of `text` before it returns, so that nothing is lost when the process ends. Where the reader has
 * gone away, or leaves a pipe full for too long, the rest is thrown away.
 */
export function writeAll(fd: number, text: string | Uint8Array): void {
  let bytes = Buffer.from(text)
  for (let waitedMs = 0; bytes.length > 0 && waitedMs <= patienceMs; ) {
    try {
      bytes = bytes.subarray(writeSync(fd, bytes))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
      waitedMs += 10
    }
  }
}
