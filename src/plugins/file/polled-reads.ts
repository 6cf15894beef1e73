import { type Loop, realLoop } from '../../lib/busy-poll.js'
import type { Libc } from '../../lib/libc.js'
import { restFactor } from '../../lib/patience.js'

/**
 * A disk has this long to answer, in ms: one that is quick needs a tenth to a third of it. To hand a read to
 * the thread pool and have it back costs 20 us and more of the processor, and so does the sleep of a thread.
 */
const pollMs = 0.5
/** Longer reads, in bytes, take the disk so long that the thread pool is no loss. */
const bytesMax = 64 * 1024

interface Read {
  readonly fd: number
  readonly target: Uint8Array
  readonly offset: number
  /** Bytes read so far. */
  done: number
  /** Counted from the first look: whoever sends many requests at once is not the disk's fault. */
  until: number | undefined
  readonly resolve: (done: number) => void
}

/**
 * Reads of files that found less than they want in the page cache. By asking, the kernel was made to fetch
 * the rest: it is asked again at each turn of the event loop. A disk that answers none of them in time is
 * left alone for twenty times as long, as with Patience. One for all files that share an event loop.
 */
export class PolledReads {
  readonly #libc: Pick<Libc, 'preadNoWait'>
  readonly #loop: Loop
  #waiting: Read[] = []
  /** When the disk last answered any of them. */
  #answeredAt = 0
  #restUntil = 0

  constructor(libc: Pick<Libc, 'preadNoWait'>, loop: Loop = realLoop) {
    this.#libc = libc
    this.#loop = loop
  }

  /**
   * Resolves with the bytes that `target` has then, `done` of which it had before. Less than all of it: to
   * read on from there will tell why, an end or an error, or will wait. Undefined: this one is not polled
   * for.
   */
  finish(fd: number, target: Uint8Array, offset: number, done: number): Promise<number> | undefined {
    if (target.length > bytesMax || this.#loop.now() < this.#restUntil) return undefined
    return new Promise((resolve) => {
      if (this.#waiting.length === 0) this.#loop.next(this.#look)
      this.#waiting.push({ fd, target, offset, done, until: undefined, resolve })
    })
  }

  #look = (): void => {
    const now = this.#loop.now()
    this.#waiting = this.#waiting.filter((read) => {
      read.until ??= now + pollMs
      if (this.#ask(read)) this.#answeredAt = now
      else if (now < read.until) return true
      else if (this.#answeredAt < read.until - pollMs) this.#restUntil = now + restFactor * pollMs
      read.resolve(read.done)
      return false
    })
    if (this.#waiting.length > 0) this.#loop.next(this.#look)
  }

  /** False: the disk has not answered yet. */
  #ask(read: Read): boolean {
    const { fd, target, offset, done } = read
    try {
      const count = this.#libc.preadNoWait(fd, done > 0 ? target.subarray(done) : target, offset + done)
      if (count > 0) read.done += count
      return count === 0 || read.done === target.length
    } catch {
      return true
    }
  }
}
