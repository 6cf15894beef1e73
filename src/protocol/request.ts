/** Decodes requests (NBD spec, "Request message"). Pure. */
import { getUint64, toNumber, viewOf } from './bytes.js'
import { NBD_CMD_DISC, NBD_EXTENDED_REQUEST_MAGIC, NBD_REQUEST_MAGIC } from './constants.js'

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

/** True where the last bytes are a whole NBD_CMD_DISC. */
export function endsWithDisconnect(bytes: Uint8Array, extended: boolean): boolean {
  const at = bytes.length - (extended ? extendedRequestBytes : requestBytes)
  const request = emptyRequest()
  return at >= 0 && decodeRequest(viewOf(bytes), at, extended, request) && request.type === NBD_CMD_DISC
}
