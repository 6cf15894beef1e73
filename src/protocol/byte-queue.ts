/** The size of a usual handshake, in bytes. */
const usualBytes = 256

/** Memory larger than this is dropped as soon as all its bytes were taken. */
const idleBytesMax = 4096

const nothing = Buffer.alloc(0)

/**
 * Queue of received bytes for the handshake, where messages are small and may wait. Chunks are copied in,
 * because the receive buffer is reused at once. The queue never overwrites copied bytes, so `take` needs no
 * second copy.
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

  /** True while a `take` waits for bytes that have not arrived. */
  get wanted(): boolean {
    return this.#taker !== undefined
  }

  push(chunk: Uint8Array): void {
    this.#makeRoom(chunk.length)
    this.#memory.set(chunk, this.#end)
    this.#end += chunk.length
    this.#serve()
  }

  /** No more bytes will come: every `take` that cannot be served rejects with `error`. */
  end(error: Error): void {
    this.#ended ??= error
    this.#serve()
  }

  /** Resolves with the next `length` bytes once they have arrived. Allows one call at a time. */
  take(length: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#wanted = length
      this.#taker = { resolve, reject }
      this.#serve()
    })
  }

  /** Returns all bytes held. */
  takeRest(): Buffer {
    const rest = this.#cut(this.length)
    // The connection outlives its handshake: free the memory.
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
    // The caller now holds the only view. An empty queue should hold no large memory.
    if (this.#start === this.#end && this.#memory.length > idleBytesMax) {
      this.#memory = nothing
      this.#start = this.#end = 0
    }
    return bytes
  }

  /** Makes room, in new memory where needed: twice the size, so that single bytes cost little. */
  #makeRoom(length: number): void {
    if (this.#end + length <= this.#memory.length) return
    const held = this.#memory.subarray(this.#start, this.#end)
    this.#memory = Buffer.allocUnsafe(Math.max(usualBytes, 2 * (held.length + length)))
    this.#memory.set(held)
    this.#end = held.length
    this.#start = 0
  }
}
