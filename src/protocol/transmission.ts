/**
 * Requests, simple replies and reply chunks (NBD spec, "Transmission"). Each grammar is above its code. Pure.
 */
import { getUint64, setUint64, toNumber } from './bytes.js'
import {
  NBD_EXTENDED_REPLY_MAGIC,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_REQUEST_MAGIC,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
} from './constants.js'

/** A decoded request. The cookie stays in two halves, because it is only sent back. */
export interface Request {
  type: number
  flags: number
  cookieHigh: number
  cookieLow: number
  /** The offset as received. An extended reply repeats it, whatever its value. */
  offsetHigh: number
  offsetLow: number
  /** The offset as a number; Infinity where a number cannot hold it exactly. */
  offset: number
  length: number
}

export function emptyRequest(): Request {
  return { type: 0, flags: 0, cookieHigh: 0, cookieLow: 0, offsetHigh: 0, offsetLow: 0, offset: 0, length: 0 }
}

export const requestBytes = 28
export const extendedRequestBytes = 32

// C: 32 bits magic, 16 bits command flags, 16 bits type, 64 bits cookie, 64 bits offset, 32 bits length
// (extended: 64)
/** Decodes the request at `at` into `request`. Returns false where the magic is wrong. */
export function decodeRequest(view: DataView, at: number, extended: boolean, request: Request): boolean {
  if (view.getUint32(at) !== (extended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC)) return false
  request.flags = view.getUint16(at + 4)
  request.type = view.getUint16(at + 6)
  request.cookieHigh = view.getUint32(at + 8)
  request.cookieLow = view.getUint32(at + 12)
  request.offsetHigh = view.getUint32(at + 16)
  request.offsetLow = view.getUint32(at + 20)
  request.offset = toNumber(request.offsetHigh, request.offsetLow)
  request.length = extended ? getUint64(view, at + 24) : view.getUint32(at + 24)
  return true
}

export const simpleReplyBytes = 16

// S: 32 bits magic, 32 bits error, 64 bits cookie
export function putSimpleReply(view: DataView, at: number, request: Request, error: number): void {
  view.setUint32(at, NBD_SIMPLE_REPLY_MAGIC)
  view.setUint32(at + 4, error)
  view.setUint32(at + 8, request.cookieHigh)
  view.setUint32(at + 12, request.cookieLow)
}

export const chunkBytes = 20
export const extendedChunkBytes = 32

// S: 32 bits magic, 16 bits flags, 16 bits type, 64 bits cookie, 32 bits length
// S: 32 bits magic, 16 bits flags, 16 bits type, 64 bits cookie, 64 bits offset of the request,
//    64 bits length (extended)
/** Writes the header of a chunk with `length` bytes of payload. Returns the position of the payload. */
export function putChunk(
  view: DataView,
  at: number,
  extended: boolean,
  request: Request,
  flags: number,
  type: number,
  length: number,
): number {
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
