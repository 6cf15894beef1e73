import { type Data, type Extent, HOLE, ZERO } from '../api/device.js'
import { NbdError } from '../api/errors.js'
import type { MaybePromise } from '../api/maybe.js'
import { inTurns } from '../api/turns.js'
import { zeroes } from '../api/zeroes.js'
import { memoryAdvice } from '../os/madvise.js'
import { Arena, type ArenaOptions } from './arena.js'
import { Segment, unitPages } from './segment.js'
import { Staging } from './staging.js'

/**
 * The size of a segment, which one look-up finds and one view covers. Longer segments were no faster (1 MiB
 * writes over 1 GiB), and cost more for scattered small writes: 4 KiB in a new segment takes 12 us at 1 MiB,
 * 100 us at 4 MiB.
 */
const defaultSegmentBytes = 1024 * 1024
/** The operating system allocates memory by the page, and extents are reported by the page. */
const defaultPageBytes = 4096
/**
 * In a range of more segments than this (4 GiB), the next one is looked up in a sorted list instead of by
 * number.
 */
const walkMax = 4096

export interface SparseArrayOptions extends Partial<Pick<ArenaOptions, 'slabBytes' | 'advice' | 'allocate'>> {
  /** In bytes, a multiple of 16 pages. */
  readonly segmentBytes?: number
  /** In bytes, a power of two. */
  readonly pageBytes?: number
}

/**
 * The content of a disk of any size, in memory. Ranges that were never written, or zeroed since, take no
 * memory. Offsets and lengths are bytes within the disk, and a length is above zero: the caller has to ensure
 * that.
 */
export class SparseArray {
  readonly #segmentBytes: number
  readonly #blankPage: Uint8Array
  readonly #advice: ArenaOptions['advice']
  readonly #arena: Arena
  readonly #staging: Staging
  readonly #segments = new Map<number, Segment>()
  /** The sorted numbers of the segments. Made on demand, and dropped when segments change. */
  #sorted: Float64Array | undefined

  /** @param size the size of the disk, in bytes. A small disk reserves little. */
  constructor(size: number, options: SparseArrayOptions = {}) {
    const { segmentBytes = defaultSegmentBytes, pageBytes = defaultPageBytes } = options
    const { advice = memoryAdvice, allocate = (length) => new ArrayBuffer(length) } = options
    if (!Number.isInteger(Math.log2(pageBytes)) || segmentBytes % (unitPages * pageBytes) !== 0)
      throw new Error(
        `a segment of ${segmentBytes} bytes is not a multiple of ${unitPages} pages of ${pageBytes}`,
      )
    this.#segmentBytes = segmentBytes
    this.#blankPage = new Uint8Array(pageBytes)
    this.#advice = advice
    this.#arena = new Arena({ segmentBytes, diskBytes: size, slabBytes: options.slabBytes, advice, allocate })
    this.#staging = new Staging(unitPages * pageBytes, () => this.#arena.take())
  }

  /** The number of segments that hold data. */
  get segments(): number {
    return this.#segments.size
  }

  /** Returns views of zeroes and of the array's own memory, which later writes change. */
  read(offset: number, length: number): Data {
    const parts: Uint8Array[] = []
    const end = offset + length
    for (let at = offset; ; ) {
      const index = Math.floor(at / this.#segmentBytes)
      const start = at - index * this.#segmentBytes
      const piece = Math.min(end - at, this.#segmentBytes - start)
      const data = this.#segments.get(index)?.read(start, piece) ?? zeroes(piece)
      // Most reads lie within one segment and need no array.
      if (piece === length) return data
      if (data instanceof Uint8Array) parts.push(data)
      else for (const part of data) parts.push(part)
      at += piece
      if (at === end) return parts
    }
  }

  /** @throws NbdError ENOSPC when there is no memory. Part of the data may have been written. */
  write(offset: number, data: Uint8Array): void {
    if (this.#staging.isLent(data) && this.#takeOver(offset, data)) return
    for (let done = 0; done < data.length; ) {
      const index = Math.floor((offset + done) / this.#segmentBytes)
      const start = offset + done - index * this.#segmentBytes
      const piece = Math.min(data.length - done, this.#segmentBytes - start)
      const segment = this.#segments.get(index) ?? this.#add(index)
      segment.write(start, piece === data.length ? data : data.subarray(done, done + piece))
      done += piece
    }
  }

  /**
   * Lends memory for a future write. The array stays unchanged until `write` is called with this very view.
   * Returns undefined where the range is not made of whole units within one segment, or too much memory is
   * lent: such a write is copied.
   */
  window(offset: number, length: number): Uint8Array | undefined {
    return this.#fits(offset, length) ? this.#staging.lend(length) : undefined
  }

  /** Ends the use of a window, whether it was written or not. */
  release(window: Uint8Array): void {
    this.#staging.takeBack(window)
  }

  #fits(offset: number, length: number): boolean {
    const start = offset % this.#segmentBytes
    return start % (unitPages * this.#blankPage.length) === 0 && start + length <= this.#segmentBytes
  }

  /**
   * Makes a window part of the array, in exchange for the memory there. Returns false where the data must be
   * copied.
   */
  #takeOver(offset: number, window: Uint8Array): boolean {
    if (!this.#fits(offset, window.length)) return false
    const index = Math.floor(offset / this.#segmentBytes)
    const segment = this.#segments.get(index) ?? this.#add(index)
    const before = segment.exchange(offset - index * this.#segmentBytes, window)
    if (before) this.#staging.takeBack(window, before)
    return before !== undefined
  }

  #add(index: number): Segment {
    const segment = new Segment(this.#take(index), this.#blankPage, this.#advice())
    this.#segments.set(index, segment)
    this.#sorted = undefined
    return segment
  }

  #take(index: number): Uint8Array {
    try {
      return this.#arena.take()
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      throw new NbdError(
        'ENOSPC',
        `no memory for ${this.#segmentBytes} bytes at ${index * this.#segmentBytes}: ` +
          `${this.#segments.size * this.#segmentBytes} bytes are taken already (${error.message})`,
        { cause: error },
      )
    }
  }

  /**
   * Zeroes a range. Gives back the memory of each 64 KiB that holds no written data. A long range yields to
   * other work: data written to the range meanwhile may stay, or be zeroed too.
   */
  zero(offset: number, length: number): MaybePromise<void> {
    const first = Math.floor(offset / this.#segmentBytes)
    const last = Math.floor((offset + length - 1) / this.#segmentBytes)
    if (first === last) return this.#zeroSegment(first, offset, length)
    if (last - first < this.#segments.size) {
      let index = first
      return inTurns(() => {
        this.#zeroSegment(index, offset, length)
        return ++index <= last
      })
    }
    const numbers = this.#segments.keys()
    return inTurns(() => {
      const { done, value } = numbers.next()
      if (done) return false
      if (value >= first && value <= last) this.#zeroSegment(value, offset, length)
      return true
    })
  }

  /** Zeroes the part of a range that lies in one segment. */
  #zeroSegment(index: number, offset: number, length: number): void {
    const segment = this.#segments.get(index)
    if (!segment) return
    const from = Math.max(0, offset - index * this.#segmentBytes)
    const to = Math.min(this.#segmentBytes, offset + length - index * this.#segmentBytes)
    const whole = to - from === this.#segmentBytes
    if (!whole) segment.zero(from, to)
    if (!whole && !segment.blank) return
    segment.drop()
    this.#segments.delete(index)
    this.#sorted = undefined
  }

  /** Written pages are data. The rest is a hole that reads as zeroes. Runs are found lazily. */
  *extents(offset: number, length: number): Generator<Extent> {
    const end = offset + length
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / this.#segmentBytes)
      const page = Math.floor((at - index * this.#segmentBytes) / this.#blankPage.length)
      const isData = this.#segments.get(index)?.written.has(page) ?? false
      const next = this.#runEnd(index, page, isData, end)
      yield { length: next - at, type: isData ? 0 : HOLE | ZERO }
      at = next
    }
  }

  /** The end of the run that a page belongs to, at most `end`. */
  #runEnd(index: number, page: number, isData: boolean, end: number): number {
    const last = Math.floor((end - 1) / this.#segmentBytes)
    for (let at = index, from = page; at <= last; from = 0) {
      const written = this.#segments.get(at)?.written
      if (written === undefined) {
        if (isData) return at * this.#segmentBytes
        at = this.#nextSegment(at + 1, last)
      } else {
        const change = written.next(!isData, from, written.size)
        if (change < written.size)
          return Math.min(end, at * this.#segmentBytes + change * this.#blankPage.length)
        at++
      }
    }
    return end
  }

  /** The first number from `index` to `last` that has a segment; `last` + 1 when none has. */
  #nextSegment(index: number, last: number): number {
    if (last - index < walkMax) {
      let at = index
      while (at <= last && !this.#segments.has(at)) at++
      return at
    }
    this.#sorted ??= Float64Array.from(this.#segments.keys()).sort()
    let low = 0
    for (let high = this.#sorted.length; low < high; ) {
      const middle = (low + high) >>> 1
      if ((this.#sorted[middle] ?? 0) < index) low = middle + 1
      else high = middle
    }
    return Math.min(this.#sorted[low] ?? last + 1, last + 1)
  }
}
