/**
 * Encodes replies (NBD spec, "Simple reply message" and "Structured reply chunk message"). Each function
 * writes at `at` and returns the position after the written bytes. Each grammar is above its code. Pure.
 */
import { setUint64 } from './bytes.js'
import {
  NBD_EXTENDED_REPLY_MAGIC,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_REPLY_TYPE_OFFSET_HOLE,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
} from './constants.js'
import type { Request } from './request.js'

/** The form of replies: simple, in structured chunks, or in chunks with extended headers. */
export type ReplyMode = 'simple' | 'structured' | 'extended'

export const simpleReplyBytes = 16
export const chunkBytes = 20
export const extendedChunkBytes = 32

/** The longest header of any reply, with the fields that precede data, runs or a message. */
export const replyHeaderBytesMax = extendedChunkBytes + 12

// S: 32 bits magic, 32 bits error, 64 bits cookie
export function putSimpleReply(view: DataView, at: number, request: Request, error: number): number {
  view.setUint32(at, NBD_SIMPLE_REPLY_MAGIC)
  view.setUint32(at + 4, error)
  view.setUint32(at + 8, request.cookieHigh)
  view.setUint32(at + 12, request.cookieLow)
  return at + simpleReplyBytes
}

// S: 32 bits magic, 16 bits flags, 16 bits type, 64 bits cookie, 32 bits length
// S: 32 bits magic, 16 bits flags, 16 bits type, 64 bits cookie, 64 bits offset of the request,
//    64 bits length (extended)
/** Writes the header of a chunk with `length` bytes of payload. */
export function putChunk(
  view: DataView,
  at: number,
  mode: ReplyMode,
  request: Request,
  flags: number,
  type: number,
  length: number,
): number {
  const extended = mode === 'extended'
  view.setUint32(at, extended ? NBD_EXTENDED_REPLY_MAGIC : NBD_STRUCTURED_REPLY_MAGIC)
  view.setUint16(at + 4, flags)
  view.setUint16(at + 6, type)
  view.setUint32(at + 8, request.cookieHigh)
  view.setUint32(at + 12, request.cookieLow)
  if (!extended) {
    view.setUint32(at + 16, length)
    return at + chunkBytes
  }
  view.setUint32(at + 16, request.offsetHigh)
  view.setUint32(at + 20, request.offsetLow)
  setUint64(view, at + 24, length)
  return at + extendedChunkBytes
}

/** Writes a reply of success without data. Without extended headers, even after NBD_OPT_STRUCTURED_REPLY. */
export function putDone(view: DataView, at: number, mode: ReplyMode, request: Request): number {
  if (mode !== 'extended') return putSimpleReply(view, at, request, 0)
  return putChunk(view, at, mode, request, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_NONE, 0)
}

// 32 bits error, 16 bits length of the message, the message
/** Writes a whole error reply. A simple reply has no room for the message. */
export function putError(
  view: DataView,
  at: number,
  mode: ReplyMode,
  request: Request,
  error: number,
  message: Uint8Array,
): number {
  if (mode === 'simple') return putSimpleReply(view, at, request, error)
  const length = 6 + message.length
  const body = putChunk(view, at, mode, request, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_ERROR, length)
  view.setUint32(body, error)
  view.setUint16(body + 4, message.length)
  new Uint8Array(view.buffer, view.byteOffset + body + 6, message.length).set(message)
  return body + length
}

/** Bytes that precede the data of a READ that is answered with one piece of data. */
export function dataHeaderBytes(mode: ReplyMode): number {
  if (mode === 'simple') return simpleReplyBytes
  return (mode === 'extended' ? extendedChunkBytes : chunkBytes) + 8
}

// 64 bits offset, the data
/** Writes all of a chunk that precedes its `length` bytes of data. */
export function putDataHeader(
  view: DataView,
  at: number,
  mode: ReplyMode,
  request: Request,
  offset: number,
  length: number,
  last: boolean,
): number {
  const body = putChunk(view, at, mode, request, doneIf(last), NBD_REPLY_TYPE_OFFSET_DATA, 8 + length)
  setUint64(view, body, offset)
  return body + 8
}

// 64 bits offset, 32 bits length
/** Writes a whole chunk for `length` bytes of zeroes. */
export function putHole(
  view: DataView,
  at: number,
  mode: ReplyMode,
  request: Request,
  offset: number,
  length: number,
  last: boolean,
): number {
  const body = putChunk(view, at, mode, request, doneIf(last), NBD_REPLY_TYPE_OFFSET_HOLE, 12)
  setUint64(view, body, offset)
  view.setUint32(body + 8, length)
  return body + 12
}

// 32 bits context id, then for each run: 32 bits length, 32 bits flags
// 32 bits context id, 32 bits count of runs, then for each run: 64 bits length, 64 bits flags (extended)
/** Writes all of a block status chunk that precedes its `count` runs. */
export function putStatusHeader(
  view: DataView,
  at: number,
  mode: ReplyMode,
  request: Request,
  contextId: number,
  count: number,
  last: boolean,
): number {
  const flags = doneIf(last)
  if (mode !== 'extended') {
    const body = putChunk(view, at, mode, request, flags, NBD_REPLY_TYPE_BLOCK_STATUS, 4 + 8 * count)
    view.setUint32(body, contextId)
    return body + 4
  }
  const body = putChunk(view, at, mode, request, flags, NBD_REPLY_TYPE_BLOCK_STATUS_EXT, 8 + 16 * count)
  view.setUint32(body, contextId)
  view.setUint32(body + 4, count)
  return body + 8
}

/** Encodes the runs of a block status chunk, lengths and flags alternating. */
export function encodeRuns(mode: ReplyMode, runs: readonly number[]): Uint8Array {
  const extended = mode === 'extended'
  const bytes = new Uint8Array(runs.length * (extended ? 8 : 4))
  const view = new DataView(bytes.buffer)
  // Flags have 32 bits, whatever sign JavaScript gives them.
  for (const [index, value] of runs.entries())
    if (extended) setUint64(view, 8 * index, index % 2 === 0 ? value : value >>> 0)
    else view.setUint32(4 * index, value)
  return bytes
}

function doneIf(last: boolean): number {
  return last ? NBD_REPLY_FLAG_DONE : 0
}
