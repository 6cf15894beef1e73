import { Writable } from 'node:stream'
import { writeStandard } from '../../os/standard-streams.js'

/**
 * Makes output of plugins, by `console` or directly, non-blocking as well: Node's streams block the event
 * loop while a pipe is full.
 */
export function takeStandardStreams(): void {
  for (const [name, fd] of [
    ['stdout', 1],
    ['stderr', 2],
  ] as const) {
    const stream = Object.assign(
      new Writable({
        write(chunk: Uint8Array, _encoding, done) {
          writeStandard(fd, chunk)
          done()
        },
      }),
      { fd },
    )
    Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => stream })
  }
}
