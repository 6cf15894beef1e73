/** 64-bit fields as numbers: exact up to 2^53 - 1, recognisably too large beyond. */

/**
 * Reads an unsigned 64-bit field. Returns Infinity for a value that a number cannot hold exactly, never a
 * rounded value.
 */
export function getUint64(view: DataView, at: number): number {
  return toNumber(view.getUint32(at), view.getUint32(at + 4))
}

export function toNumber(high: number, low: number): number {
  return high > 0x1fffff ? Number.POSITIVE_INFINITY : high * 2 ** 32 + low
}

export function setUint64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32))
  view.setUint32(at + 4, value >>> 0)
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Decodes a string of the spec: UTF-8 without NUL. Undefined for anything else. */
export function getString(bytes: Uint8Array): string | undefined {
  if (bytes.includes(0)) return undefined
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** Encodes as many whole characters of `text` in UTF-8 as fit `max` bytes. Each NUL becomes U+FFFD. */
export function stringBytes(text: string, max: number): Uint8Array {
  const bytes = Buffer.from(text.replaceAll('\0', '\ufffd'))
  if (bytes.length <= max) return bytes
  let end = max
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}
