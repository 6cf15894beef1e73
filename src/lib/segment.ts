import type { Data } from '../api/device.js'
import { zeroes } from '../api/zeroes.js'
import { Bitmap } from './bitmap.js'
import type { MemoryAdvice } from './give-back.js'

/**
 * Memory is given back by units of so many pages, 64 KiB: a call for a single page costs 2 us and a page
 * fault at its next write, to fill it with zeroes 0.2 us.
 */
export const unitPages = 16

/** A stretch of a sparse array that has memory, with a note of which pages of it are written. */
export class Segment {
  /** By page. What is not written is zero, and takes no memory, or less than a unit. */
  readonly written: Bitmap
  readonly #bytes: Uint8Array
  readonly #blankPage: Uint8Array
  readonly #pageBits: number
  readonly #advice: MemoryAdvice | undefined

  /** @param bytes Zeroes. @param blankPage A page of zeroes, which may be shared. */
  constructor(bytes: Uint8Array, blankPage: Uint8Array, advice: MemoryAdvice | undefined) {
    this.written = new Bitmap(bytes.length / blankPage.length)
    this.#bytes = bytes
    this.#blankPage = blankPage
    this.#pageBits = 31 - Math.clz32(blankPage.length)
    this.#advice = advice
  }

  get blank(): boolean {
    return this.written.next(true, 0, this.written.size) === this.written.size
  }

  read(start: number, length: number): Data {
    const end = this.#pagesTo(start + length)
    if (this.written.next(true, start >>> this.#pageBits, end) === end) return zeroes(length)
    return this.#bytes.subarray(start, start + length)
  }

  /** Memory of its own to write to: it counts as written from now on. */
  window(start: number, length: number): Uint8Array {
    this.written.set(start >>> this.#pageBits, this.#pagesTo(start + length))
    return this.#bytes.subarray(start, start + length)
  }

  write(start: number, data: Uint8Array): void {
    const { buffer, byteOffset } = this.#bytes
    // What was received into a window is there already.
    if (data.byteOffset !== byteOffset + start || data.buffer !== buffer) this.#bytes.set(data, start)
    this.written.set(start >>> this.#pageBits, this.#pagesTo(start + data.length))
  }

  zero(from: number, to: number): void {
    const unitBytes = unitPages << this.#pageBits
    const first = Math.ceil(from / unitBytes) * unitBytes
    const last = Math.floor(to / unitBytes) * unitBytes
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
    this.#advice?.giveBack(this.#bytes)
  }

  #zeroWithinUnit(from: number, to: number): void {
    const { written } = this
    let cleared = false
    for (let page = from >>> this.#pageBits; page < this.#pagesTo(to); page++) {
      // To fill what is zero already would take memory for it.
      if (!written.has(page)) continue
      const start = page << this.#pageBits
      const end = start + this.#blankPage.length
      this.#bytes.fill(0, Math.max(start, from), Math.min(end, to))
      // Zeroed sector by sector, a page is blank in the end.
      if (Buffer.compare(this.#bytes.subarray(start, end), this.#blankPage) !== 0) continue
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
        this.#bytes.fill(0, page << this.#pageBits, stop << this.#pageBits)
        page = written.next(true, stop, endPage)
      }
    written.clear(firstPage, endPage)
  }

  #giveBack(firstPage: number, endPage: number): boolean {
    const bytes = this.#bytes.subarray(firstPage << this.#pageBits, endPage << this.#pageBits)
    return this.#advice?.giveBack(bytes) ?? false
  }

  /** How many pages the first `length` bytes lie in. */
  #pagesTo(length: number): number {
    return (length + this.#blankPage.length - 1) >>> this.#pageBits
  }
}
