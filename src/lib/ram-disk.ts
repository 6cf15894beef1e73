/**
 * A disk in memory, sparse or contiguous: its operations for clients, and a canvas for its initial content.
 */
import type { DeviceInit } from '../api/device.js'
import { ZERO } from '../api/device.js'
import { ConfigError, messageOf } from '../api/errors.js'
import type { MaybePromise } from '../api/maybe.js'
import { inPieces, inTurns } from '../api/turns.js'
import { SparseArray } from './sparse-array.js'

/** Operations for painting content, called one after the other. Offsets and lengths are bytes. */
export interface Canvas {
  write(offset: number, data: Uint8Array): void
  zero(offset: number, length: number): MaybePromise<void>
  /** Copies bytes to a range that is still all zero. The two ranges do not overlap. */
  copy(from: number, to: number, length: number): MaybePromise<void>
}

export interface RamDisk {
  readonly canvas: Canvas
  /** The device for all clients, without its size. */
  readonly operations: Omit<DeviceInit, 'size'>
}

/** nbdkit's allocators: memory for written parts, or all memory at once. */
export const allocators = ['sparse', 'malloc'] as const

/** @throws ConfigError that names the plugin, when `malloc` cannot allocate the size. */
export function ramDisk(plugin: string, size: number, allocator: (typeof allocators)[number]): RamDisk {
  return allocator === 'malloc' ? flatDisk(reserve(plugin, size)) : sparseDisk(size)
}

/** Nothing in memory is ever durable, so a flush has nothing to do. */
const common = {
  can: { multiConn: true, fua: 'native', fastZero: true },
  flush() {},
  cache() {},
} as const

/** Bytes zeroed or copied in a row: up to 0.2 ms. */
const pieceBytes = 256 * 1024
/** Bytes written in a row: a segment of the sparse array. */
const writtenBytes = 2 ** 20

function sparseDisk(size: number): RamDisk {
  const array = new SparseArray(size)
  const write = (offset: number, data: Uint8Array) => array.write(offset, data)
  const zero = (offset: number, length: number) => array.zero(offset, length)
  const copyPiece = (from: number, to: number, length: number) => {
    const data = array.read(from, length)
    let at = to
    for (const view of data instanceof Uint8Array ? [data] : data) {
      array.write(at, view)
      at += view.length
    }
  }
  function* copyPieces(from: number, to: number, length: number): Generator<void> {
    let at = 0
    for (const extent of array.extents(from, length)) {
      // The extent was read before this copy wrote anything, which is safe because the ranges do not overlap.
      const end = at + extent.length
      if (extent.type & ZERO) at = end
      for (; at < end; at = Math.min(end, at + pieceBytes)) {
        copyPiece(from + at, to + at, Math.min(pieceBytes, end - at))
        yield
      }
    }
  }
  const copy = (from: number, to: number, length: number) => {
    const pieces = copyPieces(from, to, length)
    return inTurns(() => pieces.next().done !== true)
  }
  return {
    canvas: { write, zero, copy },
    operations: {
      ...common,
      read: (offset, length) => array.read(offset, length),
      write: writeInPieces(write),
      window: (offset, length) => array.window(offset, length),
      release: (window) => array.release(window),
      trim: zero,
      zero,
      extents: (offset, length) => array.extents(offset, length),
    },
  }
}

/**
 * Splits large writes, because the system needs time to find memory that was never touched. A lent window is
 * no longer than a piece, so it is written whole.
 */
function writeInPieces(write: Canvas['write']): NonNullable<DeviceInit['write']> {
  return (offset, data) =>
    inPieces(offset, data.length, writtenBytes, (at, bytes) =>
      write(at, bytes === data.length ? data : data.subarray(at - offset, at - offset + bytes)),
    )
}

/**
 * A disk in one stretch of memory, all of it data. It has no window: memory for a future write would have to
 * lie elsewhere, and the data would be copied after all.
 */
export function flatDisk(memory: ArrayBuffer): RamDisk {
  const view = (offset: number, length: number) => new Uint8Array(memory, offset, length)
  const write = (offset: number, data: Uint8Array) => view(offset, data.length).set(data)
  // Filling 1 GiB takes a second where the system still has to find the memory.
  const zero = (offset: number, length: number) =>
    inPieces(offset, length, pieceBytes, (at, bytes) => void view(at, bytes).fill(0))
  const copy = (from: number, to: number, length: number) =>
    inPieces(0, length, pieceBytes, (at, bytes) => write(to + at, view(from + at, bytes)))
  return {
    canvas: { write, zero, copy },
    operations: { ...common, read: view, write: writeInPieces(write), trim: zero, zero },
  }
}

function reserve(plugin: string, size: number): ArrayBuffer {
  try {
    return new ArrayBuffer(size)
  } catch (error) {
    throw new ConfigError(
      `${plugin}: allocator=malloc cannot reserve ${size} bytes (${messageOf(error)}): ` +
        'allocator=sparse takes memory only for what is written',
      { cause: error },
    )
  }
}
