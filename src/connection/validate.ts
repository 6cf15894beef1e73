/** Which requests an export takes (NBD spec, "Command flags", "Request types", "Error values"). Pure. */
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EINVAL,
  NBD_ENOSPC,
  NBD_EOVERFLOW,
  NBD_EPERM,
} from '../protocol/constants.js'
import { payloadBytesMax } from '../protocol/limits.js'
import type { ReplyMode } from '../protocol/reply.js'
import type { Request } from '../protocol/request.js'
import { maximumPayload, type Terms } from './agreement.js'

/** Why a request is refused: an NBD error and a message for a person. */
export interface Refusal {
  readonly error: number
  readonly message: string
}

export function commandName(type: number): string {
  return commandNames[type] ?? `unknown command ${type}`
}
const commandNames = ['read', 'write', 'disc', 'flush', 'trim', 'cache', 'zero', 'block status']

/** Bytes that follow the request on the wire. */
export function payloadBytes(request: Request, mode: ReplyMode): number {
  // With extended headers a WRITE must carry the flag. Without the flag, its bytes follow all the same.
  if (request.type === NBD_CMD_WRITE) return request.length
  return mode === 'extended' && request.flags & NBD_CMD_FLAG_PAYLOAD_LEN ? request.length : 0
}

/** Why a request is refused. Undefined where it may go to the device. */
export function refusal(request: Request, terms: Terms): Refusal | undefined {
  const { type, flags, offset, length } = request
  const { device, readOnly } = terms
  const { size, can, blockSize } = device

  if (type > NBD_CMD_BLOCK_STATUS || type === NBD_CMD_DISC) return invalid(`${commandName(type)}`)
  const writes = type === NBD_CMD_WRITE || type === NBD_CMD_TRIM || type === NBD_CMD_WRITE_ZEROES
  if (writes && readOnly)
    return { error: NBD_EPERM, message: `${requestText(request)}: the export is read-only` }
  if (flags & ~allowedFlags(type, terms))
    return invalid(`${requestText(request)}: flags 0x${flags.toString(16)} not taken`)

  if (type === NBD_CMD_FLUSH) {
    if (!can.flush) return unsupported(request)
    return offset === 0 && length === 0
      ? undefined
      : invalid(`${requestText(request)}: expected offset and length 0`)
  }

  if (type === NBD_CMD_TRIM && !can.trim) return unsupported(request)
  if (type === NBD_CMD_WRITE_ZEROES && can.zero === 'none') return unsupported(request)
  if (type === NBD_CMD_CACHE && can.cache === 'none') return unsupported(request)
  if (type === NBD_CMD_BLOCK_STATUS && terms.contextCount === 0)
    return invalid('block status without a metadata context negotiated')

  if (length === 0) return invalid(`${requestText(request)}: a length of zero`)
  if (offset + length > size) {
    const error = type === NBD_CMD_WRITE || type === NBD_CMD_WRITE_ZEROES ? NBD_ENOSPC : NBD_EINVAL
    return { error, message: `${requestText(request)}: beyond the end (${size})` }
  }
  const { minimum, advisory } = blockSize
  if (minimum > 1 && !advisory && (offset % minimum !== 0 || length % minimum !== 0))
    return invalid(`${requestText(request)}: not aligned to the minimum block size, ${minimum}`)
  if (type === NBD_CMD_READ || type === NBD_CMD_WRITE) {
    const maximum = advisory ? payloadBytesMax : maximumPayload(device)
    if (length > maximum) {
      // Only a client that knows structured replies expects EOVERFLOW ("Structured replies" of NBD_CMD_READ).
      const error = type === NBD_CMD_READ && terms.mode !== 'simple' ? NBD_EOVERFLOW : NBD_EINVAL
      return { error, message: `${requestText(request)}: the longest is ${maximum} bytes` }
    }
  }
  return undefined
}

function allowedFlags(type: number, { device: { can }, readOnly, mode }: Terms): number {
  // "This flag is valid for all commands", where it was offered.
  const fua = can.fua !== 'none' && !readOnly ? NBD_CMD_FLAG_FUA : 0
  switch (type) {
    case NBD_CMD_READ:
      return fua | (mode !== 'simple' ? NBD_CMD_FLAG_DF : 0)
    case NBD_CMD_WRITE:
      return fua | (mode === 'extended' ? NBD_CMD_FLAG_PAYLOAD_LEN : 0)
    case NBD_CMD_WRITE_ZEROES:
      return fua | NBD_CMD_FLAG_NO_HOLE | (can.fastZero ? NBD_CMD_FLAG_FAST_ZERO : 0)
    case NBD_CMD_BLOCK_STATUS:
      return fua | NBD_CMD_FLAG_REQ_ONE | (mode === 'extended' ? NBD_CMD_FLAG_PAYLOAD_LEN : 0)
    default:
      return fua
  }
}

function requestText({ type, length, offsetHigh, offsetLow }: Request): string {
  return `${commandName(type)} ${length} at ${BigInt(offsetHigh) * 2n ** 32n + BigInt(offsetLow)}`
}

function invalid(message: string): Refusal {
  return { error: NBD_EINVAL, message }
}

function unsupported(request: Request): Refusal {
  return invalid(`${requestText(request)}: the export does not support it`)
}
