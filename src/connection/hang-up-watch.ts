/**
 * Notices that a client is gone while its socket is not read. A client that has asked for more than there is
 * room for is held back, and the system reports the end of a socket only to a reader.
 */
import type { Duplex } from 'node:stream'
import { descriptorOf } from '../net/socket-descriptor.js'
import { libc } from '../os/libc.js'

/** Time between two checks of all clients that are held back, in ms. */
const intervalMs = 250

/** True where both directions of a socket are closed. Also false where that cannot be determined. */
export function hasHungUp(stream: Duplex): boolean {
  const fd = descriptorOf(stream)
  return fd !== undefined && (libc()?.hasHungUp(fd) ?? false)
}

/** One for all connections of a server. */
export class HangUpWatch {
  readonly #watched = new Map<Duplex, () => void>()
  #timer: NodeJS.Timeout | undefined

  /** Calls `gone` once the client is gone, unless the watch ends before. */
  begin(stream: Duplex, gone: () => void): void {
    this.#watched.set(stream, gone)
    this.#timer ??= setInterval(() => this.look(), intervalMs).unref()
  }

  end(stream: Duplex): void {
    this.#watched.delete(stream)
    if (this.#watched.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  look(): void {
    for (const [stream, gone] of [...this.#watched])
      if (hasHungUp(stream)) {
        this.end(stream)
        gone()
      }
  }
}
