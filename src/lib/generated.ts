import type { Alloc } from '../api/device.js'

/** Blocks begin at multiples of this, in bytes. A short read makes one of them, in a microsecond or less. */
export const blockBytes = 4096

/** Fills all of a block, which begins at `offset` on the disk, in bytes. It depends on nothing else. */
export type Fill = (block: Uint32Array, offset: number) => void

/** The bytes of a disk of any size, which follow from where they are: made when asked for, and never kept. */
export class GeneratedBytes {
  readonly #fill: Fill
  // A block is made here and copied. To make it in place was no faster, and needs memory that is aligned.
  readonly #block = new Uint32Array(blockBytes / 4)
  readonly #bytes = new Uint8Array(this.#block.buffer)

  constructor(fill: Fill) {
    this.#fill = fill
  }

  read(offset: number, length: number, alloc: Alloc): Uint8Array {
    const target = alloc(length, 'uninitialized')
    for (let done = 0; done < length; ) {
      const piece = this.#piece(offset + done, length - done)
      target.set(piece, done)
      done += piece.length
    }
    return target
  }

  /** The index of the first byte of `data` that is not what is read at `offset`; -1 when all are the same. */
  mismatch(offset: number, data: Uint8Array): number {
    for (let done = 0; done < data.length; ) {
      const piece = this.#piece(offset + done, data.length - done)
      const found = data.subarray(done, done + piece.length)
      if (Buffer.compare(found, piece) !== 0) return done + found.findIndex((byte, at) => byte !== piece[at])
      done += piece.length
    }
    return -1
  }

  /** What of a range lies in its first block. The next call overwrites it. */
  #piece(offset: number, length: number): Uint8Array {
    const start = offset % blockBytes
    this.#fill(this.#block, offset - start)
    return this.#bytes.subarray(start, start + length)
  }
}
