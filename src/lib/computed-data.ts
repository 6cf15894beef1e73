import type { Alloc } from '../api/device.js'
import { andThen, type MaybePromise } from '../api/maybe.js'
import { inPieces } from '../api/turns.js'

/** Blocks begin at multiples of this, in bytes. A short read makes one block, in a microsecond or less. */
export const blockBytes = 4096

/** Bytes made in a row. A longer read yields to other work in between. */
const stepBytes = 64 * 1024

/**
 * Fills a whole block, which begins at `offset` on the disk, in bytes. The content depends on nothing else.
 */
export type Fill = (block: Uint32Array, offset: number) => void

/** The content of a disk of any size that depends only on the offset. It is made on demand and never kept. */
export class GeneratedBytes {
  readonly #fill: Fill
  // A block is made here and copied. Making it in place was no faster, and needs aligned memory.
  readonly #block = new Uint32Array(blockBytes / 4)
  readonly #bytes = new Uint8Array(this.#block.buffer)

  constructor(fill: Fill) {
    this.#fill = fill
  }

  read(offset: number, length: number, alloc: Alloc): MaybePromise<Uint8Array> {
    const target = alloc(length, 'uninitialized')
    const made = inPieces(offset, length, stepBytes, (at, bytes) =>
      this.#make(target, at, bytes, at - offset),
    )
    return andThen(made, () => target)
  }

  /** Makes the bytes of a range and puts them into `target` at `start`. */
  #make(target: Uint8Array, offset: number, length: number, start: number): void {
    for (let done = 0; done < length; ) {
      const piece = this.#piece(offset + done, length - done)
      target.set(piece, start + done)
      done += piece.length
    }
  }

  /** The index of the first byte of `data` that differs from the content at `offset`; -1 when none does. */
  mismatch(offset: number, data: Uint8Array): MaybePromise<number> {
    let found = -1
    const compared = inPieces(offset, data.length, stepBytes, (at, bytes) => {
      if (found >= 0) return
      const start = at - offset
      const index = this.#mismatchIn(at, data.subarray(start, start + bytes))
      if (index >= 0) found = start + index
    })
    return andThen(compared, () => found)
  }

  #mismatchIn(offset: number, data: Uint8Array): number {
    for (let done = 0; done < data.length; ) {
      const piece = this.#piece(offset + done, data.length - done)
      const found = data.subarray(done, done + piece.length)
      if (Buffer.compare(found, piece) !== 0) return done + found.findIndex((byte, at) => byte !== piece[at])
      done += piece.length
    }
    return -1
  }

  /** The part of a range that lies in its first block. The next call overwrites it. */
  #piece(offset: number, length: number): Uint8Array {
    const start = offset % blockBytes
    this.#fill(this.#block, offset - start)
    return this.#bytes.subarray(start, start + length)
  }
}
