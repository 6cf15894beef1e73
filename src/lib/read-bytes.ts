import type { Device } from '../api/device.js'

/** Reads a range of a device into one new buffer. For tables and headers: the whole range is in memory. */
export async function readBytes(device: Device, offset: number, length: number): Promise<Buffer> {
  const data = await device.read(offset, length, (bytes) => new Uint8Array(bytes))
  return data instanceof Uint8Array ? Buffer.from(data) : Buffer.concat(data)
}
