import type { Alloc } from '../api/device.js'

/**
 * Pool of reused buffers: a fresh large buffer costs more than the read that fills it (page faults). Sizes
 * are powers of two. Buffers that are never given back are garbage collected.
 */
const smallest = 12 // 4 KiB
const largest = 23 // 8 MiB: a larger transfer takes so long that the page faults do not matter

/** The most memory kept for reuse, in bytes. */
const keptBytesMax = 32 * 1024 * 1024

export class BufferPool {
  readonly #free: ArrayBuffer[][] = Array.from({ length: largest + 1 }, () => [])
  readonly #lent = new WeakSet<ArrayBufferLike>()
  #keptBytes = 0
  /** Loans not given back. While it is 0, `takeBack` need not look up its view. */
  #loans = 0

  /** Returns exactly `length` bytes of undefined content. */
  take(length: number): Uint8Array {
    const size = sizeClass(length)
    if (size > largest) return new Uint8Array(length)
    let memory = this.#free[size]?.pop()
    if (memory === undefined) memory = Buffer.allocUnsafeSlow(1 << size).buffer as ArrayBuffer
    else this.#keptBytes -= memory.byteLength
    return new Uint8Array(memory, 0, length)
  }

  /** Takes back a buffer from `take`. The caller must not use its bytes any more. */
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
   * Lends memory to a device to fill. The device may return any view of it, or none. The memory may hold
   * another client's data, so it is zeroed unless the device says that it fills all of it.
   */
  readonly lend: Alloc = (length, content) => {
    const view = this.take(length)
    // Memory too large for the pool is fresh and already zero.
    if (content !== 'uninitialized' && view.buffer.byteLength <= 1 << largest) view.fill(0)
    this.#lent.add(view.buffer)
    this.#loans++
    return view
  }

  /**
   * Ends the loan of the memory under `view` and returns true; false where the memory was not lent, or its
   * loan has ended. The caller then owns the memory and has to give it back.
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
