/** Memory beside a disk, lent for writes whose bytes are still arriving. */

/**
 * The most pieces of each size: this many large writes of that size can arrive at once without a copy. With
 * all sizes in use, the pieces hold 15.5 MiB.
 */
const piecesMax = 8

/**
 * Lends pieces of memory. Their length is a unit times a power of two. No disk data lies in a piece, so a
 * returned piece may be lent again, whatever was received into it.
 */
export class Staging {
  readonly #unitBytes: number
  readonly #take: () => Uint8Array
  /** By size: the free pieces, and the number of pieces made, free or lent. */
  readonly #free: Uint8Array[][] = []
  readonly #made: number[] = []
  readonly #lent = new Set<Uint8Array>()
  #rest: Uint8Array = new Uint8Array(0)

  /** @param take returns fresh memory of many units, or throws a RangeError. */
  constructor(unitBytes: number, take: () => Uint8Array) {
    this.#unitBytes = unitBytes
    this.#take = take
  }

  /** Undefined for a length that is no piece size, or when all pieces of the size are lent. */
  lend(length: number): Uint8Array | undefined {
    const size = Math.log2(length / this.#unitBytes)
    if (size < 0 || !Number.isInteger(size)) return undefined
    const piece = this.#free[size]?.pop() ?? this.#make(size, length)
    if (piece) this.#lent.add(piece)
    return piece
  }

  isLent(piece: Uint8Array): boolean {
    return this.#lent.size > 0 && this.#lent.has(piece)
  }

  /** Takes back a lent piece, or other memory of the same length where the disk has kept the piece. */
  takeBack(piece: Uint8Array, inItsPlace = piece): void {
    if (!this.#lent.delete(piece)) return
    const size = Math.log2(piece.length / this.#unitBytes)
    this.#free[size] ??= []
    this.#free[size].push(inItsPlace)
  }

  #make(size: number, length: number): Uint8Array | undefined {
    const made = this.#made[size] ?? 0
    if (made === piecesMax) return undefined
    try {
      // The rest of the last allocation is small and untouched: nothing is lost.
      if (this.#rest.length < length) this.#rest = this.#take()
    } catch (error) {
      // The write that follows does not need this memory. It fails by itself where it needs more.
      if (error instanceof RangeError) return undefined
      throw error
    }
    this.#made[size] = made + 1
    const piece = this.#rest.subarray(0, length)
    this.#rest = this.#rest.subarray(length)
    return piece
  }
}
