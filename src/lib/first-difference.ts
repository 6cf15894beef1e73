/** Compares a range of a device with bytes that it should hold. */
import type { Device } from '../api/device.js'
import { andThen, type MaybePromise } from '../api/maybe.js'
import { inPieces } from '../api/turns.js'
import { isZeroes } from '../api/zeroes.js'

/** A byte of a device that is not the expected one. */
export interface Difference {
  /** In bytes, from the start of the device. */
  readonly offset: number
  readonly found: number
  readonly expected: number
}

/** Bytes that are read at once: comparing them holds up other clients for less than 0.1 ms. */
const pieceBytes = 256 * 1024

const zeroPiece = new Uint8Array(pieceBytes)
const alloc = (length: number) => new Uint8Array(length)

/**
 * Finds the first byte from `offset` on that differs from `expected`. Undefined where none does. Only whole
 * blocks of the device's minimum block size are read, so the range may begin and end anywhere.
 */
export function firstDifference(
  device: Device,
  offset: number,
  expected: Uint8Array,
): MaybePromise<Difference | undefined> {
  return search(device, offset, expected.length, (at, length) => expected.subarray(at, at + length))
}

/** Finds the first byte of a range that is not zero. */
export function firstNonZero(
  device: Device,
  offset: number,
  length: number,
): MaybePromise<Difference | undefined> {
  return search(device, offset, length, (_at, bytes) => zeroPiece.subarray(0, bytes))
}

/** `expectedAt` returns the bytes at an index of the range. */
function search(
  device: Device,
  offset: number,
  length: number,
  expectedAt: (index: number, length: number) => Uint8Array,
): MaybePromise<Difference | undefined> {
  const { minimum, maximum } = device.blockSize
  const start = offset - (offset % minimum)
  const end = Math.min(device.size, Math.ceil((offset + length) / minimum) * minimum)
  let found: Difference | undefined
  const searched = inPieces(start, end - start, Math.min(pieceBytes, maximum), (at, bytes) => {
    if (found) return
    return andThen(device.read(at, bytes, alloc), (data) => {
      let partAt = at
      for (const part of data instanceof Uint8Array ? [data] : data) {
        const from = Math.max(partAt, offset)
        const to = Math.min(partAt + part.length, offset + length)
        if (from < to)
          found ??= difference(
            from,
            part.subarray(from - partAt, to - partAt),
            expectedAt(from - offset, to - from),
          )
        partAt += part.length
      }
    })
  })
  return andThen(searched, () => found)
}

function difference(offset: number, found: Uint8Array, expected: Uint8Array): Difference | undefined {
  if (isZeroes(found) && expected.buffer === zeroPiece.buffer) return undefined
  if (Buffer.compare(found, expected) === 0) return undefined
  const index = found.findIndex((byte, at) => byte !== expected[at])
  return { offset: offset + index, found: found[index] ?? 0, expected: expected[index] ?? 0 }
}

/** For a message about data to be written: `byte 512 would be 0x31, and is 0x00`. */
export function differenceText({ offset, found, expected }: Difference): string {
  return `byte ${offset} would be ${hex(expected)}, and is ${hex(found)}`
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`
}
