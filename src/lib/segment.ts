import type { Data } from '../api/device.js'
import { zeroes } from '../api/zeroes.js'
import { Bitmap } from './bitmap.js'
import type { MemoryAdvice } from './give-back.js'

/**
 * Memory is given back, and exchanged, by units of so many pages, 64 KiB: a call for a single page costs 2 us
 * and a page fault at its next write, to fill it with zeroes 0.2 us.
 */
export const unitPages = 16

/** A stretch of a sparse array that has memory, with a note of which pages of it are written. */
export class Segment {
  /** By page. What is not written is zero, and takes no memory, or less than a unit. */
  readonly written: Bitmap
  /** By unit: a view of its memory was given to a reader, who may hold it for as long as a client is slow. */
  readonly #shown: Bitmap
  #bytes: Uint8Array
  /** By unit: memory that was exchanged for that of `#bytes`. */
  #exchanged: (Uint8Array | undefined)[] | undefined
  readonly #blankPage: Uint8Array
  readonly #pageBits: number
  readonly #unitBits: number
  readonly #unitBytes: number
  readonly #advice: MemoryAdvice | undefined

  /** @param bytes Zeroes. @param blankPage A page of zeroes, which may be shared. */
  constructor(bytes: Uint8Array, blankPage: Uint8Array, advice: MemoryAdvice | undefined) {
    this.#bytes = bytes
    this.#blankPage = blankPage
    this.#pageBits = 31 - Math.clz32(blankPage.length)
    this.#unitBytes = unitPages * blankPage.length
    this.#unitBits = 31 - Math.clz32(this.#unitBytes)
    this.written = new Bitmap(bytes.length / blankPage.length)
    this.#shown = new Bitmap(bytes.length / this.#unitBytes)
    this.#advice = advice
  }

  get blank(): boolean {
    return this.written.next(true, 0, this.written.size) === this.written.size
  }

  read(start: number, length: number): Data {
    const end = start + length
    const endPage = this.#pagesTo(end)
    if (this.written.next(true, start >>> this.#pageBits, endPage) === endPage) return zeroes(length)
    this.#shown.set(start >>> this.#unitBits, ((end - 1) >>> this.#unitBits) + 1)
    const whole = this.#inOnePiece(start, end)
    if (whole) return whole
    const pieces = this.#pieces(start, end)
    return pieces.length === 1 && pieces[0] ? pieces[0] : pieces
  }

  write(start: number, data: Uint8Array): void {
    const end = start + data.length
    const whole = this.#inOnePiece(start, end)
    if (whole) whole.set(data)
    else {
      let done = 0
      for (const piece of this.#pieces(start, end)) {
        piece.set(data.subarray(done, done + piece.length))
        done += piece.length
      }
    }
    this.written.set(start >>> this.#pageBits, this.#pagesTo(end))
  }

  /**
   * Writes whole units by taking over `memory` that holds them. Returns the memory that they were in, which
   * nobody uses any more. Undefined: nothing was done, as a reader may still use that memory, or it lies here
   * and there.
   */
  exchange(start: number, memory: Uint8Array): Uint8Array | undefined {
    const first = start >>> this.#unitBits
    const end = first + (memory.length >>> this.#unitBits)
    if (this.#shown.next(true, first, end) !== end) return undefined
    const [before, more] = this.#pieces(start, start + memory.length)
    if (more !== undefined) return undefined
    if (memory.length === this.#bytes.length) {
      this.#bytes = memory
      this.#exchanged = undefined
    } else {
      this.#exchanged ??= []
      for (let unit = first, at = 0; unit < end; unit++, at += this.#unitBytes)
        this.#exchanged[unit] = memory.subarray(at, at + this.#unitBytes)
    }
    this.written.set(start >>> this.#pageBits, this.#pagesTo(start + memory.length))
    return before
  }

  zero(from: number, to: number): void {
    const first = Math.ceil(from / this.#unitBytes) * this.#unitBytes
    const last = Math.floor(to / this.#unitBytes) * this.#unitBytes
    if (first > last) this.#zeroWithinUnit(from, to)
    else {
      this.#zeroWithinUnit(from, first)
      this.#zeroUnits(first >>> this.#pageBits, last >>> this.#pageBits)
      this.#zeroWithinUnit(last, to)
    }
  }

  /**
   * Gives all of the memory back. What readers still hold of it turns to zeroes, or stays until they are
   * done.
   */
  drop(): void {
    for (const piece of this.#pieces(0, this.#bytes.length)) this.#advice?.giveBack(piece)
  }

  #zeroWithinUnit(from: number, to: number): void {
    const { written } = this
    let cleared = false
    for (let page = from >>> this.#pageBits; page < this.#pagesTo(to); page++) {
      // To fill what is zero already would take memory for it.
      if (!written.has(page)) continue
      const start = page << this.#pageBits
      const bytes = this.#inOnePiece(start, start + this.#blankPage.length)
      bytes?.fill(0, Math.max(0, from - start), Math.max(0, to - start))
      // Zeroed sector by sector, a page is blank in the end.
      if (!bytes || Buffer.compare(bytes, this.#blankPage) !== 0) continue
      written.clear(page, page + 1)
      cleared = true
    }
    if (!cleared) return
    const unit = Math.floor((from >>> this.#pageBits) / unitPages) * unitPages
    if (written.next(true, unit, unit + unitPages) === unit + unitPages)
      this.#giveBack(unit, unit + unitPages)
  }

  #zeroUnits(firstPage: number, endPage: number): void {
    const { written } = this
    let page = written.next(true, firstPage, endPage)
    if (page === endPage) return
    if (!this.#giveBack(firstPage, endPage))
      while (page < endPage) {
        const stop = written.next(false, page, endPage)
        for (const piece of this.#pieces(page << this.#pageBits, stop << this.#pageBits)) piece.fill(0)
        page = written.next(true, stop, endPage)
      }
    written.clear(firstPage, endPage)
  }

  /** False: not all of it. What was given back is zero. */
  #giveBack(firstPage: number, endPage: number): boolean {
    const advice = this.#advice
    if (!advice) return false
    const pieces = this.#pieces(firstPage << this.#pageBits, endPage << this.#pageBits)
    return pieces.every((piece) => advice.giveBack(piece))
  }

  /** Undefined where a range goes beyond a unit, and units were exchanged. */
  #inOnePiece(from: number, to: number): Uint8Array | undefined {
    if (this.#exchanged === undefined) return this.#bytes.subarray(from, to)
    const unit = from >>> this.#unitBits
    const start = unit * this.#unitBytes
    return to - start <= this.#unitBytes ? this.#unit(unit).subarray(from - start, to - start) : undefined
  }

  /** The memory of a range, from one place where it lies together to the next. */
  #pieces(from: number, to: number): Uint8Array[] {
    if (this.#exchanged === undefined) return [this.#bytes.subarray(from, to)]
    const pieces: Uint8Array[] = []
    for (let at = from; at < to; ) {
      const unit = at >>> this.#unitBits
      const { buffer, byteOffset } = this.#unit(unit)
      let end = (unit + 1) * this.#unitBytes
      for (let next = unit + 1; end < to; next++, end += this.#unitBytes) {
        const { buffer: nextBuffer, byteOffset: nextOffset } = this.#unit(next)
        if (nextBuffer !== buffer || nextOffset !== byteOffset + (next - unit) * this.#unitBytes) break
      }
      end = Math.min(end, to)
      pieces.push(new Uint8Array(buffer, byteOffset + (at - unit * this.#unitBytes), end - at))
      at = end
    }
    return pieces
  }

  #unit(index: number): Uint8Array {
    const start = index * this.#unitBytes
    return this.#exchanged?.[index] ?? this.#bytes.subarray(start, start + this.#unitBytes)
  }

  /** How many pages the first `length` bytes lie in. */
  #pagesTo(length: number): number {
    return (length + this.#blankPage.length - 1) >>> this.#pageBits
  }
}
