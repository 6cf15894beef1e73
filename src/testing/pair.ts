import { Duplex } from 'node:stream'

/** One end of a connection within this process. While nobody reads, its writer waits, as with a socket. */
class End extends Duplex {
  other: End | undefined
  /** Tells the other end's writer that there is room again. */
  #room: (() => void) | undefined

  override _read(): void {
    const room = this.#room
    this.#room = undefined
    room?.()
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error) => void): void {
    const { other } = this
    if (other === undefined || other.destroyed) done(new Error('the other end is gone'))
    // A copy: the writer may use its memory again once it is told that the bytes are taken.
    else if (other.push(Buffer.from(chunk))) done()
    else other.#room = done
  }

  override _final(done: () => void): void {
    this.other?.push(null)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.other && !this.other.destroyed) this.other.destroy()
    done(error)
  }
}

/** Two ends of one connection in this process: what is written to one is read from the other. */
export function pair(): [Duplex, Duplex] {
  const [left, right] = [new End(), new End()]
  left.other = right
  right.other = left
  return [left, right]
}
