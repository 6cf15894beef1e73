/** The value of an expression: bytes that are known but not yet written, however many. */
import { isPromise, type MaybePromise } from '../../api/maybe.js'
import { inTurns } from '../../api/turns.js'
import type { Canvas } from '../../lib/ram-disk.js'

/** Remaining steps of painting. Asking for the next step performs it, and it may have to be awaited. */
export type Steps = Iterable<MaybePromise<void>>

export interface Blob {
  readonly length: number
  /** The most bytes that painting writes: ranges known to be zero are skipped. */
  readonly written: number
  /**
   * Paints its bytes `from` to `to` at an offset.
   *
   * @param fresh the range is still zero, so zeroes may be left out.
   */
  paint(canvas: Canvas, at: number, from: number, to: number, fresh: boolean): Steps
}

/** Paints a blob on a canvas of zeroes, up to `length`. Yields to other work in between. */
export function paintAll(blob: Blob, canvas: Canvas, length: number): MaybePromise<void> {
  const steps = blob.paint(canvas, 0, 0, length, true)[Symbol.iterator]()
  return inTurns(() => {
    const { done, value } = steps.next()
    return isPromise(value) ? value.then(() => true) : done !== true
  })
}

/**
 * A blob of many parts up to this length becomes one of bytes, so that deeply nested parts are painted once.
 */
const smallMax = 4096

export function hole(length: number): Blob {
  return {
    length,
    written: 0,
    paint(canvas, at, from, to, fresh) {
      return !fresh && to > from ? [canvas.zero(at, to - from)] : []
    },
  }
}

export function bytes(data: Uint8Array): Blob {
  if (isBlank(data)) return hole(data.length)
  return {
    length: data.length,
    written: data.length,
    paint(canvas, at, from, to) {
      canvas.write(at, data.subarray(from, to))
      return [undefined]
    },
  }
}

const blank = Buffer.alloc(65536)

function isBlank(data: Uint8Array): boolean {
  for (let at = 0; at < data.length; at += blank.length) {
    const piece = data.subarray(at, at + blank.length)
    if (Buffer.compare(piece, blank.subarray(0, piece.length)) !== 0) return false
  }
  return true
}

/** Blobs at their offsets. A later one overwrites an earlier one, also with its zeroes. */
export function sequence(
  parts: readonly { readonly at: number; readonly blob: Blob }[],
  length: number,
): Blob {
  let written = 0
  for (const { blob } of parts) written += blob.written
  return smaller({
    length,
    written,
    *paint(canvas, at, from, to, fresh) {
      if (!fresh) yield* hole(length).paint(canvas, at, from, to, false)
      let painted = 0
      for (const { at: start, blob } of parts) {
        const end = start + blob.length
        const [first, last] = [Math.max(from, start), Math.min(to, end)]
        if (first < last)
          yield* blob.paint(canvas, at + first - from, first - start, last - start, start >= painted)
        painted = Math.max(painted, end)
      }
    },
  })
}

/** A blob repeated `count` times. It is painted once and then copied, twice as much each time. */
export function repeat(blob: Blob, count: number): Blob {
  const { length: period } = blob
  const length = period * count
  if (blob.written === 0 || length === 0) return hole(length)
  if (count === 1) return blob
  return smaller({
    length,
    written: blob.written * count,
    *paint(canvas, at, from, to, fresh) {
      if (!fresh) yield* hole(length).paint(canvas, at, from, to, false)
      const phase = from % period
      const last = Math.min(period, phase + to - from)
      yield* blob.paint(canvas, at, phase, last, true)
      let done = last - phase
      const rest = Math.min(phase, to - from - done)
      if (rest > 0) yield* blob.paint(canvas, at + done, 0, rest, true)
      for (done += rest; done < to - from; done *= 2)
        yield canvas.copy(at, at + done, Math.min(done, to - from - done))
    },
  })
}

export function slice(blob: Blob, start: number, end: number): Blob {
  if (start === 0 && end === blob.length) return blob
  return smaller({
    length: end - start,
    written: Math.min(blob.written, end - start),
    paint: (canvas, at, from, to, fresh) => blob.paint(canvas, at, start + from, start + to, fresh),
  })
}

function smaller(blob: Blob): Blob {
  if (blob.written === 0) return hole(blob.length)
  if (blob.length > smallMax) return blob
  const data = new Uint8Array(blob.length)
  const canvas: Canvas = {
    write: (at, source) => data.set(source, at),
    zero: (at, length) => void data.fill(0, at, at + length),
    copy: (from, to, length) => void data.copyWithin(to, from, from + length),
  }
  // No step on this canvas is asynchronous.
  Array.from(blob.paint(canvas, 0, 0, blob.length, true))
  return bytes(data)
}
