/**
 * A disk in memory, sparse or in one piece: what clients do with it, and what its first content is painted
 * by.
 */
import type { DeviceInit } from '../api/device.js'
import { ZERO } from '../api/device.js'
import { ConfigError, messageOf } from '../api/errors.js'
import type { MaybePromise } from '../api/maybe.js'
import { inPieces, inTurns } from '../api/turns.js'
import { SparseArray } from './sparse-array.js'

/** What content is painted on, one call after the other. Offsets and lengths are bytes. */
export interface Canvas {
  write(offset: number, data: Uint8Array): void
  zero(offset: number, length: number): MaybePromise<void>
  /** Copies bytes to where all is zero still. The two ranges have nothing in common. */
  copy(from: number, to: number, length: number): MaybePromise<void>
}

export interface RamDisk {
  readonly canvas: Canvas
  /** A device of all clients, but for its size: what it can, and how. */
  readonly operations: Omit<DeviceInit, 'size'>
}

/** As nbdkit's allocators: memory for what is written, or all of it at once. */
export const allocators = ['sparse', 'malloc'] as const

/** @throws ConfigError that names the plugin, when `malloc` cannot have so much. */
export function ramDisk(plugin: string, size: number, allocator: (typeof allocators)[number]): RamDisk {
  return allocator === 'malloc' ? flatDisk(reserve(plugin, size)) : sparseDisk(size)
}

/** Nothing is ever durable, so all of it is as durable as it gets. */
const common = {
  can: { multiConn: true, fua: 'native', fastZero: true },
  flush() {},
  cache() {},
} as const

/** So many are zeroed or copied in a row, in bytes: up to 0.2 ms. */
const pieceBytes = 256 * 1024
/** So many are written in a row: a segment of the sparse array. */
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
      // What the extent says was said before this copy wrote anything: the ranges have nothing in common.
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
 * A large write into memory that was never touched takes the system as long as it takes to find some. A lent
 * window is no longer than a piece: it is written whole.
 */
function writeInPieces(write: Canvas['write']): NonNullable<DeviceInit['write']> {
  return (offset, data) =>
    inPieces(offset, data.length, writtenBytes, (at, bytes) =>
      write(at, bytes === data.length ? data : data.subarray(at - offset, at - offset + bytes)),
    )
}

/**
 * One stretch of memory, all of it data. It has no window: memory for a write that is to come would have to
 * lie beside it, and be copied after all.
 */
export function flatDisk(memory: ArrayBuffer): RamDisk {
  const view = (offset: number, length: number) => new Uint8Array(memory, offset, length)
  const write = (offset: number, data: Uint8Array) => view(offset, data.length).set(data)
  // To fill 1 GiB takes a second where the system has yet to find memory for it.
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
