/** A usual handshake, in bytes. */
const usualBytes = 256

/** Larger memory is given up as soon as all bytes in it were taken. */
const idleBytesMax = 4096

const nothing = Buffer.alloc(0)

/**
 * Bytes as they come, taken as they are needed: for the handshake, where messages are small and may wait.
 * Chunks are copied in, since the receive buffer is used again at once. What was copied in is never written
 * over, so that it is taken without another copy.
 */
export class ByteQueue {
  #memory = nothing
  #start = 0
  #end = 0
  #wanted = 0
  #taker: { resolve(bytes: Buffer): void; reject(error: Error): void } | undefined
  #ended: Error | undefined

  /** Bytes held and not yet taken. */
  get length(): number {
    return this.#end - this.#start
  }

  /** True while somebody waits for bytes that have not come. */
  get wanted(): boolean {
    return this.#taker !== undefined
  }

  push(chunk: Uint8Array): void {
    this.#makeRoom(chunk.length)
    this.#memory.set(chunk, this.#end)
    this.#end += chunk.length
    this.#serve()
  }

  /** No more will come: every `take` that cannot be served fails with `error`. */
  end(error: Error): void {
    this.#ended ??= error
    this.#serve()
  }

  /** Resolves with the next `length` bytes when they are there. One at a time. */
  take(length: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#wanted = length
      this.#taker = { resolve, reject }
      this.#serve()
    })
  }

  /** All that is held, at once. */
  takeRest(): Buffer {
    const rest = this.#cut(this.length)
    // A connection outlives its handshake.
    this.#memory = nothing
    this.#start = this.#end = 0
    return rest
  }

  #serve(): void {
    const taker = this.#taker
    if (taker === undefined) return
    if (this.length >= this.#wanted) {
      this.#taker = undefined
      taker.resolve(this.#cut(this.#wanted))
    } else if (this.#ended !== undefined) {
      this.#taker = undefined
      taker.reject(this.#ended)
    }
  }

  #cut(length: number): Buffer {
    const bytes = this.#memory.subarray(this.#start, this.#start + length)
    this.#start += length
    // Who took all of it holds the only view: what waits for the next bytes should cost nothing.
    if (this.#start === this.#end && this.#memory.length > idleBytesMax) {
      this.#memory = nothing
      this.#start = this.#end = 0
    }
    return bytes
  }

  /** Where there is no room, new memory: twice as much, so that single bytes cost little. */
  #makeRoom(length: number): void {
    if (this.#end + length <= this.#memory.length) return
    const held = this.#memory.subarray(this.#start, this.#end)
    this.#memory = Buffer.allocUnsafe(Math.max(usualBytes, 2 * (held.length + length)))
    this.#memory.set(held)
    this.#end = held.length
    this.#start = 0
  }
}
