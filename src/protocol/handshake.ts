/**
 * Greeting, options, option replies and infos (NBD spec, "Handshake"). Each grammar is above its code. Pure.
 */
import { getString, setUint64, stringBytes, viewOf } from './bytes.js'
import {
  NBD_CLISERV_MAGIC,
  NBD_IHAVEOPT,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_EXPORT,
  NBD_MAGIC,
  NBD_REP_MAGIC,
} from './constants.js'
import { queriesMax, stringBytesMax } from './limits.js'

function message(length: number): [Buffer, DataView] {
  const bytes = Buffer.alloc(length)
  return [bytes, viewOf(bytes)]
}

function setMagic(view: DataView, at: number, [high, low]: readonly [number, number]): void {
  view.setUint32(at, high)
  view.setUint32(at + 4, low)
}

// S: 64 bits NBDMAGIC, 64 bits IHAVEOPT, 16 bits handshake flags
export function encodeGreeting(handshakeFlags: number): Buffer {
  const [bytes, view] = message(18)
  setMagic(view, 0, NBD_MAGIC)
  setMagic(view, 8, NBD_IHAVEOPT)
  view.setUint16(16, handshakeFlags)
  return bytes
}

// S: 64 bits NBDMAGIC, 64 bits cliserv_magic, 64 bits size, 32 bits flags, 124 zeroes
export function encodeOldstyle(size: number, transmissionFlags: number): Buffer {
  const [bytes, view] = message(152)
  setMagic(view, 0, NBD_MAGIC)
  setMagic(view, 8, NBD_CLISERV_MAGIC)
  setUint64(view, 16, size)
  view.setUint32(24, transmissionFlags)
  return bytes
}

// S: 64 bits size, 16 bits transmission flags, 124 zeroes unless NO_ZEROES
export function encodeExport(size: number, transmissionFlags: number, noZeroes: boolean): Buffer {
  const [bytes, view] = message(noZeroes ? 10 : 134)
  setUint64(view, 0, size)
  view.setUint16(8, transmissionFlags)
  return bytes
}

// C: 64 bits IHAVEOPT, 32 bits option, 32 bits length
export const optionHeaderBytes = 16

/** Undefined where the magic is wrong. */
export function decodeOptionHeader(bytes: Uint8Array): { option: number; length: number } | undefined {
  const view = viewOf(bytes)
  if (view.getUint32(0) !== NBD_IHAVEOPT[0] || view.getUint32(4) !== NBD_IHAVEOPT[1]) return undefined
  return { option: view.getUint32(8), length: view.getUint32(12) }
}

// S: 64 bits reply magic, 32 bits option, 32 bits reply type, 32 bits length, data
export function encodeOptionReply(option: number, type: number, data: Uint8Array = noBytes): Buffer {
  const [bytes, view] = message(20 + data.length)
  setMagic(view, 0, NBD_REP_MAGIC)
  view.setUint32(8, option)
  view.setUint32(12, type)
  view.setUint32(16, data.length)
  bytes.set(data, 20)
  return bytes
}
const noBytes = new Uint8Array(0)

// NBD_REP_SERVER: 32 bits length of name, name, description
export function encodeServer(name: string, description: string): Buffer {
  const nameBytes = stringBytes(name, stringBytesMax)
  const [bytes, view] = message(4 + nameBytes.length)
  view.setUint32(0, nameBytes.length)
  bytes.set(nameBytes, 4)
  return Buffer.concat([bytes, stringBytes(description, stringBytesMax)])
}

// NBD_INFO_EXPORT: 16 bits type, 64 bits size, 16 bits transmission flags
export function encodeInfoExport(size: number, transmissionFlags: number): Buffer {
  const [bytes, view] = message(12)
  view.setUint16(0, NBD_INFO_EXPORT)
  setUint64(view, 2, size)
  view.setUint16(10, transmissionFlags)
  return bytes
}

// NBD_INFO_NAME, NBD_INFO_DESCRIPTION: 16 bits type, string
export function encodeInfoString(type: number, text: string): Buffer {
  const [bytes, view] = message(2)
  view.setUint16(0, type)
  return Buffer.concat([bytes, stringBytes(text, stringBytesMax)])
}

// NBD_INFO_BLOCK_SIZE: 16 bits type, 32 bits minimum, 32 bits preferred, 32 bits maximum payload
export function encodeInfoBlockSize(minimum: number, preferred: number, maximum: number): Buffer {
  const [bytes, view] = message(14)
  view.setUint16(0, NBD_INFO_BLOCK_SIZE)
  view.setUint32(2, minimum)
  view.setUint32(6, preferred)
  view.setUint32(10, maximum)
  return bytes
}

// NBD_REP_META_CONTEXT: 32 bits context id, name
export function encodeMetaContext(id: number, name: string): Buffer {
  const [bytes, view] = message(4)
  view.setUint32(0, id)
  return Buffer.concat([bytes, stringBytes(name, stringBytesMax)])
}

/** A received name: the text, or what is wrong with it. */
export type Name = { readonly text: string } | { readonly wrong: string }

export function decodeName(bytes: Uint8Array): Name {
  if (bytes.length > stringBytesMax)
    return { wrong: `a name of ${bytes.length} bytes: the longest is ${stringBytesMax}` }
  const text = getString(bytes)
  return text === undefined ? { wrong: 'a name is not UTF-8, or holds a NUL' } : { text }
}

// NBD_OPT_INFO, NBD_OPT_GO: 32 bits length of name, name, 16 bits number of requests, 16 bits each
export function decodeInfo(
  data: Uint8Array,
): { name: Name; requests: readonly number[] } | { wrong: string } {
  const view = viewOf(data)
  if (data.length < 6) return { wrong: `option data of ${data.length} bytes: expected 6 at least` }
  const nameLength = view.getUint32(0)
  if (nameLength > data.length - 6)
    return { wrong: `a name of ${nameLength} bytes in ${data.length} bytes of data` }
  const count = view.getUint16(4 + nameLength)
  const expected = 6 + nameLength + 2 * count
  if (data.length !== expected)
    return {
      wrong: `option data of ${data.length} bytes: expected ${expected} for ${count} information requests`,
    }
  const requests = Array.from({ length: count }, (_, index) => view.getUint16(6 + nameLength + 2 * index))
  return { name: decodeName(data.subarray(4, 4 + nameLength)), requests }
}

/** `tooMany` has a reply of its own: the request is well formed, but larger than we take. */
export type MetaContextQuery =
  | { readonly name: Name; readonly queries: readonly Name[] }
  | { readonly wrong: string; readonly tooMany?: true }

// NBD_OPT_LIST_META_CONTEXT, NBD_OPT_SET_META_CONTEXT:
//   32 bits length of name, name, 32 bits number of queries, each 32 bits length, query
export function decodeMetaContextQuery(data: Uint8Array): MetaContextQuery {
  const view = viewOf(data)
  if (data.length < 8) return { wrong: `option data of ${data.length} bytes: expected 8 at least` }
  const nameLength = view.getUint32(0)
  if (nameLength > data.length - 8)
    return { wrong: `a name of ${nameLength} bytes in ${data.length} bytes of data` }
  const name = decodeName(data.subarray(4, 4 + nameLength))
  let at = 4 + nameLength
  const count = view.getUint32(at)
  at += 4
  if (count > queriesMax) return { wrong: `${count} queries: at most ${queriesMax} are taken`, tooMany: true }
  const queries: Name[] = []
  for (let index = 0; index < count; index++) {
    const length = at + 4 <= data.length ? view.getUint32(at) : Number.POSITIVE_INFINITY
    if (at + 4 + length > data.length)
      return { wrong: `query ${index + 1} of ${count} goes beyond the option data` }
    queries.push(decodeName(data.subarray(at + 4, at + 4 + length)))
    at += 4 + length
  }
  if (at !== data.length) return { wrong: `${data.length - at} bytes follow the last query` }
  return { name, queries }
}
