/** Memory beside a disk, lent for writes whose bytes are still on their way. */

/**
 * Pieces of each size that may be there: so many large writes of that size may arrive at once without a copy.
 * With all sizes in use they hold 15.5 MiB.
 */
const piecesMax = 8

/**
 * Lends pieces of memory whose length is a unit, or twice as much, and so on. Nothing of a disk lies in a
 * piece, so a piece that comes back may be lent again, whatever was received into it.
 */
export class Staging {
  readonly #unitBytes: number
  readonly #take: () => Uint8Array
  /** By size: the pieces that wait, and how many there are with those that are lent. */
  readonly #free: Uint8Array[][] = []
  readonly #made: number[] = []
  readonly #lent = new Set<Uint8Array>()
  #rest: Uint8Array = new Uint8Array(0)

  /** @param take Gives fresh memory of many units, or throws a RangeError. */
  constructor(unitBytes: number, take: () => Uint8Array) {
    this.#unitBytes = unitBytes
    this.#take = take
  }

  /** Undefined where the length is none of ours, or as many pieces are lent as may be. */
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

  /** Takes back what is lent; other memory of the same length where the disk has kept the piece. */
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
      // What is left of the last is small, and untouched memory: nothing is lost.
      if (this.#rest.length < length) this.#rest = this.#take()
    } catch (error) {
      // The write that follows has no need of this memory, and says so where it needs more itself.
      if (error instanceof RangeError) return undefined
      throw error
    }
    this.#made[size] = made + 1
    const piece = this.#rest.subarray(0, length)
    this.#rest = this.#rest.subarray(length)
    return piece
  }
}
