import type { Alloc } from '../api/device.js'

/**
 * Memory that is used again: a fresh large buffer costs more than the read that fills it (page faults).
 * Sizes are powers of two. What is never given back is simply collected.
 */
const smallest = 12 // 4 KiB
const largest = 23 // 8 MiB: beyond, a transfer takes so long that the page faults do not matter

/** Memory kept for later, in bytes, at most. */
const keptBytesMax = 32 * 1024 * 1024

export class BufferPool {
  readonly #free: ArrayBuffer[][] = Array.from({ length: largest + 1 }, () => [])
  readonly #lent = new WeakSet<ArrayBufferLike>()
  #keptBytes = 0
  /** Grows with each loan that nobody has yet given back: while it is 0, no view needs to be looked up. */
  #loans = 0

  /** Exactly `length` bytes, of undefined content. */
  take(length: number): Uint8Array {
    const size = sizeClass(length)
    if (size > largest) return new Uint8Array(length)
    let memory = this.#free[size]?.pop()
    if (memory === undefined) memory = Buffer.allocUnsafeSlow(1 << size).buffer as ArrayBuffer
    else this.#keptBytes -= memory.byteLength
    return new Uint8Array(memory, 0, length)
  }

  /** Takes back what `take` gave. Its bytes must not be used any more. */
  give(view: Uint8Array): void {
    const { buffer } = view
    const size = sizeClass(buffer.byteLength)
    if (
      size > largest ||
      1 << size !== buffer.byteLength ||
      this.#keptBytes + buffer.byteLength > keptBytesMax
    )
      return
    this.#keptBytes += buffer.byteLength
    this.#free[size]?.push(buffer as ArrayBuffer)
  }

  /**
   * Memory for a device to fill: the device may return any view of it, or none. What was in the memory may be
   * another client's, so it is zeroed, unless the device says that it fills all of it.
   */
  readonly lend: Alloc = (length, content) => {
    const view = this.take(length)
    // What is too large for the pool is fresh, and zero.
    if (content !== 'uninitialized' && view.buffer.byteLength <= 1 << largest) view.fill(0)
    this.#lent.add(view.buffer)
    this.#loans++
    return view
  }

  /**
   * True where `view` lies in memory that was lent: once, since from then on it is the caller's to give back.
   */
  takeBack(view: Uint8Array): boolean {
    if (this.#loans === 0 || !this.#lent.delete(view.buffer)) return false
    this.#loans--
    return true
  }
}

function sizeClass(length: number): number {
  return length <= 1 << smallest ? smallest : 32 - Math.clz32(length - 1)
}
