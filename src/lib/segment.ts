import type { Data } from '../api/device.js'
import { zeroes } from '../api/zeroes.js'
import type { MemoryAdvice } from '../os/madvise.js'
import { Bitmap } from './bitmap.js'

/**
 * Memory is given back and exchanged in units of this many pages, 64 KiB. A call for a single page costs 2
 * us, plus a page fault at the next write; filling the page with zeroes costs 0.2 us.
 */
export const unitPages = 16

/** A stretch of a sparse array that has memory, with a record of its written pages. */
export class Segment {
  /** By page. Unwritten pages are zero and take no memory, or less than a unit. */
  readonly written: Bitmap
  /** By unit: a reader was given a view of its memory, and may hold it for as long as a client is slow. */
  readonly #shown: Bitmap
  #bytes: Uint8Array
  /**
   * By unit: the memory that was exchanged for that of `#bytes`, and the unit's position in it. Keeping a
   * view of each unit would make enough objects to keep the garbage collector busy.
   */
  #holders: (Uint8Array | undefined)[] | undefined
  #starts: number[] = []
  readonly #blankPage: Uint8Array
  readonly #pageBits: number
  readonly #unitBits: number
  readonly #unitBytes: number
  readonly #advice: MemoryAdvice | undefined

  /** @param bytes zeroes. @param blankPage a page of zeroes, which may be shared. */
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
   * Writes whole units by taking over `memory`, which holds them. Returns their former memory, which is then
   * unused. Returns undefined, having done nothing, where a reader may still use the former memory, or where
   * that memory is not contiguous.
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
   * Gives all of the memory back. Parts that readers still hold turn to zeroes, or stay until the readers are
   * done.
   */
  drop(): void {
    for (const piece of this.#pieces(0, this.#bytes.length)) this.#advice?.giveBack(piece)
  }

  #zeroWithinUnit(from: number, to: number): void {
    const { written } = this
    let cleared = false
    for (let page = from >>> this.#pageBits; page < this.#pagesTo(to); page++) {
      // Filling zeroes again would take memory.
      if (!written.has(page)) continue
      const start = page << this.#pageBits
      const bytes = this.#inOneUnit(start, start + this.#blankPage.length)
      bytes?.fill(0, Math.max(0, from - start), Math.max(0, to - start))
      // A page that is zeroed sector by sector is blank in the end.
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

  /** Returns false where not all memory was given back. The part given back is zero. */
  #giveBack(firstPage: number, endPage: number): boolean {
    const advice = this.#advice
    if (!advice) return false
    const pieces = this.#pieces(firstPage << this.#pageBits, endPage << this.#pageBits)
    return pieces.every((piece) => advice.giveBack(piece))
  }

  /** The memory that was exchanged for the units from `first` on, where it still holds all of them. */
  #holderOf(first: number, length: number): Uint8Array | undefined {
    const holder = this.#holders?.[first]
    if (holder?.length !== length) return undefined
    for (let unit = first, at = 0; at < length; unit++, at += this.#unitBytes)
      if (this.#holders?.[unit] !== holder || this.#starts[unit] !== at) return undefined
    return holder
  }

  /** Undefined where units were exchanged and a range spans more than one. */
  #inOneUnit(from: number, to: number): Uint8Array | undefined {
    if (this.#holders === undefined) return this.#bytes.subarray(from, to)
    const unit = from >>> this.#unitBits
    if ((to - 1) >>> this.#unitBits !== unit) return undefined
    const holder = this.#holders[unit]
    const moved = this.#place(unit) - unit * this.#unitBytes
    return (holder ?? this.#bytes).subarray(from + moved, to + moved)
  }

  /** Undefined where a range is not contiguous. */
  #onePiece(from: number, to: number): Uint8Array | undefined {
    const pieces = this.#pieces(from, to)
    return pieces.length === 1 ? pieces[0] : undefined
  }

  /** The memory of a range, as contiguous pieces. */
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

  /** The position of a unit in its memory. */
  #place(unit: number): number {
    return this.#holders?.[unit] === undefined ? unit * this.#unitBytes : (this.#starts[unit] ?? 0)
  }

  /** The number of pages that the first `length` bytes take. */
  #pagesTo(length: number): number {
    return (length + this.#blankPage.length - 1) >>> this.#pageBits
  }
}
