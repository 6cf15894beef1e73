/** One bit for each of up to 2^31 blocks. Ranges include the first bit and exclude the last. */
export class Bitmap {
  /** In bits. */
  readonly size: number
  readonly #words: Int32Array

  constructor(size: number) {
    this.size = size
    this.#words = new Int32Array(Math.ceil(size / 32))
  }

  has(index: number): boolean {
    return ((this.#words[index >>> 5] ?? 0) & (1 << (index & 31))) !== 0
  }

  set(from: number, to: number): void {
    for (let word = from >>> 5; word * 32 < to; word++)
      this.#words[word] = (this.#words[word] ?? 0) | within(word, from, to)
  }

  clear(from: number, to: number): void {
    for (let word = from >>> 5; word * 32 < to; word++)
      this.#words[word] = (this.#words[word] ?? 0) & ~within(word, from, to)
  }

  /** A copy with room for more bits, which are clear. */
  grownTo(size: number): Bitmap {
    const grown = new Bitmap(size)
    grown.#words.set(this.#words)
    return grown
  }

  /** The first set bit of a range, or the first clear bit where `value` is false; `to` when there is none. */
  next(value: boolean, from: number, to: number): number {
    for (let word = from >>> 5; word * 32 < to; word++) {
      const bits = this.#words[word] ?? 0
      const found = (value ? bits : ~bits) & within(word, from, to)
      // `found & -found` is the lowest bit alone.
      if (found !== 0) return word * 32 + 31 - Math.clz32(found & -found)
    }
    return to
  }
}

/** The bits of a word that lie in a range. */
function within(word: number, from: number, to: number): number {
  const low = from - word * 32
  const high = to - word * 32
  return (low > 0 ? -1 << low : -1) & (high < 32 ? ~(-1 << high) : -1)
}
