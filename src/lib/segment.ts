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
  /**
   * By unit: in which memory, exchanged for that of `#bytes`, the unit lies, and where. Views of each unit
   * would be objects enough to keep the garbage collector busy.
   */
  #holders: (Uint8Array | undefined)[] | undefined
  #starts: number[] = []
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
    const whole = this.#inOneUnit(start, end)
    if (whole) return whole
    const pieces = this.#pieces(start, end)
    return pieces.length === 1 && pieces[0] ? pieces[0] : pieces
  }

  write(start: number, data: Uint8Array): void {
    const end = start + data.length
    const whole = this.#inOneUnit(start, end)
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
    const before = this.#holderOf(first, memory.length) ?? this.#onePiece(start, start + memory.length)
    if (before === undefined) return undefined
    if (memory.length === this.#bytes.length) {
      this.#bytes = memory
      this.#holders = undefined
    } else {
      this.#holders ??= []
      for (let unit = first, at = 0; unit < end; unit++, at += this.#unitBytes) {
        this.#holders[unit] = memory
        this.#starts[unit] = at
      }
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
      const bytes = this.#inOneUnit(start, start + this.#blankPage.length)
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

  /** The very memory that was exchanged for units from this one on, where they are still all in it. */
  #holderOf(first: number, length: number): Uint8Array | undefined {
    const holder = this.#holders?.[first]
    if (holder?.length !== length) return undefined
    for (let unit = first, at = 0; at < length; unit++, at += this.#unitBytes)
      if (this.#holders?.[unit] !== holder || this.#starts[unit] !== at) return undefined
    return holder
  }

  /** Undefined where a range goes beyond a unit, and units were exchanged. */
  #inOneUnit(from: number, to: number): Uint8Array | undefined {
    if (this.#holders === undefined) return this.#bytes.subarray(from, to)
    const unit = from >>> this.#unitBits
    if ((to - 1) >>> this.#unitBits !== unit) return undefined
    const holder = this.#holders[unit]
    const moved = this.#place(unit) - unit * this.#unitBytes
    return (holder ?? this.#bytes).subarray(from + moved, to + moved)
  }

  /** Undefined where a range lies here and there. */
  #onePiece(from: number, to: number): Uint8Array | undefined {
    const pieces = this.#pieces(from, to)
    return pieces.length === 1 ? pieces[0] : undefined
  }

  /** The memory of a range, from one place where it lies together to the next. */
  #pieces(from: number, to: number): Uint8Array[] {
    if (this.#holders === undefined) return [this.#bytes.subarray(from, to)]
    const pieces: Uint8Array[] = []
    for (let at = from; at < to; ) {
      const unit = at >>> this.#unitBits
      const holder = this.#holders[unit] ?? this.#bytes
      const moved = this.#place(unit) - unit * this.#unitBytes
      let end = (unit + 1) * this.#unitBytes
      for (let next = unit + 1; end < to; next++, end += this.#unitBytes) {
        const isNext = (this.#holders[next] ?? this.#bytes) === holder
        if (!isNext || this.#place(next) - next * this.#unitBytes !== moved) break
      }
      end = Math.min(end, to)
      pieces.push(holder.subarray(at + moved, end + moved))
      at = end
    }
    return pieces
  }

  /** Where a unit begins in the memory that it is in. */
  #place(unit: number): number {
    return this.#holders?.[unit] === undefined ? unit * this.#unitBytes : (this.#starts[unit] ?? 0)
  }

  /** How many pages the first `length` bytes lie in. */
  #pagesTo(length: number): number {
    return (length + this.#blankPage.length - 1) >>> this.#pageBits
  }
}
