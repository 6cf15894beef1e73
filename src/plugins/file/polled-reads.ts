import { type Loop, realLoop } from '../../net/busy-poll.js'
import type { Libc } from '../../os/libc.js'
import { restFactor } from '../../os/patience.js'

/**
 * Time for a disk to answer, in ms. A fast disk needs a tenth to a third of this. Handing a read to the
 * thread pool and back costs 20 us of CPU and more, and so does putting a thread to sleep.
 */
const pollMs = 0.5
/**
 * The longest reads to poll for, in bytes. Longer ones take the disk so long that the thread pool is no loss.
 */
const bytesMax = 64 * 1024

interface Read {
  readonly fd: number
  readonly target: Uint8Array
  readonly offset: number
  /** Bytes read so far. */
  done: number
  /**
   * Counted from the first check: a client that sends many requests at once must not count against the disk.
   */
  until: number | undefined
  readonly resolve: (done: number) => void
}

/**
 * Polls for reads that found too little in the page cache. The first attempt made the kernel fetch the rest,
 * and each turn of the event loop asks again. If the disk answers none in time, polling stops for twenty
 * times as long, as with Patience. One for all files that share an event loop.
 */
export class PolledReads {
  readonly #libc: Pick<Libc, 'preadNoWait'>
  readonly #loop: Loop
  #waiting: Read[] = []
  /** When the disk last answered any read. */
  #answeredAt = 0
  #restUntil = 0

  constructor(libc: Pick<Libc, 'preadNoWait'>, loop: Loop = realLoop) {
    this.#libc = libc
    this.#loop = loop
  }

  /**
   * Resolves with the number of bytes then in `target`, including `done` from before. If fewer than all,
   * reading on from there shows why (an end or an error), or waits. Returns undefined where the read is not
   * polled for.
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

  /** Returns false where the disk has not answered yet. */
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
