/** What client and server agreed on in the handshake, for the transmission phase. */
import type { Device } from '../api/device.js'
import {
  NBD_FLAG_BLOCK_STATUS_PAYLOAD,
  NBD_FLAG_CAN_MULTI_CONN,
  NBD_FLAG_HAS_FLAGS,
  NBD_FLAG_READ_ONLY,
  NBD_FLAG_ROTATIONAL,
  NBD_FLAG_SEND_CACHE,
  NBD_FLAG_SEND_DF,
  NBD_FLAG_SEND_FAST_ZERO,
  NBD_FLAG_SEND_FLUSH,
  NBD_FLAG_SEND_FUA,
  NBD_FLAG_SEND_TRIM,
  NBD_FLAG_SEND_WRITE_ZEROES,
} from '../protocol/constants.js'
import { payloadBytesMax } from '../protocol/limits.js'
import type { ReplyMode } from '../protocol/reply.js'

/** A metadata context that the client selected. */
export interface MetaContext {
  readonly id: number
  readonly name: string
}

/** The terms by which requests are validated. */
export interface Terms {
  readonly device: Device
  readonly readOnly: boolean
  readonly mode: ReplyMode
  /** False where the layers want one client at a time: multi-conn is then not offered. */
  readonly severalClients?: boolean
  /** Metadata contexts that the client selected. */
  readonly contextCount: number
}

export interface Agreement extends Terms {
  readonly exportName: string
  readonly contexts: readonly MetaContext[]
}

/** Transmission flags of an export (NBD spec, "Transmission flags"). */
export function transmissionFlags({
  device: { can, rotational },
  readOnly,
  mode,
  contextCount,
  severalClients = true,
}: Terms): number {
  let flags = NBD_FLAG_HAS_FLAGS
  if (readOnly) flags |= NBD_FLAG_READ_ONLY
  else {
    if (can.trim) flags |= NBD_FLAG_SEND_TRIM
    if (can.zero !== 'none') flags |= NBD_FLAG_SEND_WRITE_ZEROES
    if (can.zero !== 'none' && can.fastZero) flags |= NBD_FLAG_SEND_FAST_ZERO
    if (can.fua !== 'none') flags |= NBD_FLAG_SEND_FUA
  }
  if (can.flush) flags |= NBD_FLAG_SEND_FLUSH
  if (rotational) flags |= NBD_FLAG_ROTATIONAL
  if (mode !== 'simple') flags |= NBD_FLAG_SEND_DF
  if (can.multiConn && severalClients) flags |= NBD_FLAG_CAN_MULTI_CONN
  if (can.cache !== 'none') flags |= NBD_FLAG_SEND_CACHE
  if (mode === 'extended' && contextCount > 0) flags |= NBD_FLAG_BLOCK_STATUS_PAYLOAD
  return flags
}

/** The longest READ or WRITE that an export takes, in bytes. */
export function maximumPayload(device: Device): number {
  return Math.min(payloadBytesMax, device.blockSize.maximum)
}
