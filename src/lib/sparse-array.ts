import { type Data, type Extent, HOLE, ZERO } from '../api/device.js'
import { NbdError } from '../api/errors.js'
import type { MaybePromise } from '../api/maybe.js'
import { inTurns } from '../api/turns.js'
import { zeroes } from '../api/zeroes.js'
import { Arena, type ArenaOptions } from './arena.js'
import { memoryAdvice } from './give-back.js'
import { Segment, unitPages } from './segment.js'
import { Staging } from './staging.js'

/**
 * A segment is what one look-up finds and one view covers. Longer ones were no faster (1 MiB writes over 1
 * GiB), and cost more where little is written here and there: 12 us for 4 KiB in a new segment of 1 MiB, 100
 * in one of 4 MiB.
 */
const defaultSegmentBytes = 1024 * 1024
/** The operating system gives memory by the page, and extents are told by it. */
const defaultPageBytes = 4096
/**
 * In a range of more segments (4 GiB) the next one is looked up in a sorted list, not tried number by number.
 */
const walkMax = 4096

export interface SparseArrayOptions extends Partial<Pick<ArenaOptions, 'slabBytes' | 'advice' | 'allocate'>> {
  /** In bytes, a multiple of 16 pages. */
  readonly segmentBytes?: number
  /** In bytes, a power of two. */
  readonly pageBytes?: number
}

/**
 * The bytes of a disk of any size, in memory. What was never written, and what was zeroed since, takes none.
 * Offsets and lengths are bytes within the disk, a length is above zero: the caller has seen to that.
 */
export class SparseArray {
  readonly #segmentBytes: number
  readonly #blankPage: Uint8Array
  readonly #advice: ArenaOptions['advice']
  readonly #arena: Arena
  readonly #staging: Staging
  readonly #segments = new Map<number, Segment>()
  /** The numbers of the segments in order: made when needed, forgotten when they change. */
  #sorted: Float64Array | undefined

  /** @param size Of the disk, in bytes: a small one reserves little. */
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

  /** How many segments hold anything. */
  get segments(): number {
    return this.#segments.size
  }

  /** Views of the array's own memory, which later writes change, and of zeroes. */
  read(offset: number, length: number): Data {
    const parts: Uint8Array[] = []
    const end = offset + length
    for (let at = offset; ; ) {
      const index = Math.floor(at / this.#segmentBytes)
      const start = at - index * this.#segmentBytes
      const piece = Math.min(end - at, this.#segmentBytes - start)
      const data = this.#segments.get(index)?.read(start, piece) ?? zeroes(piece)
      // Most reads lie within one segment, and need no array.
      if (piece === length) return data
      if (data instanceof Uint8Array) parts.push(data)
      else for (const part of data) parts.push(part)
      at += piece
      if (at === end) return parts
    }
  }

  /** @throws NbdError ENOSPC when there is no memory for it. A part of it may be written then. */
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
   * Memory for a write that is to come, beside the array, which stays as it is until `write` is called with
   * this very view. Undefined where the range is not made of whole units within one segment, or too much is
   * lent already: such a write is copied.
   */
  window(offset: number, length: number): Uint8Array | undefined {
    return this.#fits(offset, length) ? this.#staging.lend(length) : undefined
  }

  /** A window is used no more, whether it was written or not. */
  release(window: Uint8Array): void {
    this.#staging.takeBack(window)
  }

  #fits(offset: number, length: number): boolean {
    const start = offset % this.#segmentBytes
    return start % (unitPages * this.#blankPage.length) === 0 && start + length <= this.#segmentBytes
  }

  /** Makes a window a part of the array, in exchange for the memory there. False: it must be copied. */
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
   * Makes a range zero. Of each 64 KiB in which nothing is written any more, the memory is given back. Others
   * are let in where that takes long: what they write to the range meanwhile may stay, or be zeroed too.
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

  /** What of a range lies in one segment. */
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

  /** Written pages are data; all else is a hole that reads as zeroes. Runs are found as they are taken. */
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

  /** Where the run ends that a page of a segment belongs to: at `end`, or before. */
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
