/** Queries and settings for a socket by its file descriptor. */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { libc } from '../os/libc.js'

/** Linux counts twice this. 256 KiB reads of a file became a seventh faster. More gained nothing. */
const sendBufferBytes = 416 * 1024

/** The file descriptor of an open socket; undefined for any other stream. */
export function descriptorOf(stream: Duplex): number | undefined {
  const { _handle } = stream as Duplex & { _handle?: { fd?: number } | null }
  const { fd = -1 } = _handle ?? {}
  return fd < 0 ? undefined : fd
}

/**
 * Lets a Unix socket take more at once. Linux allows less than 256 KiB, and the rest of each large reply
 * would wait until the client has taken some. TCP adjusts by itself.
 */
export function widen(stream: Duplex): void {
  const fd = descriptorOf(stream)
  if (fd === undefined || (stream as Socket).remoteAddress !== undefined) return
  try {
    libc()?.setSendBuffer(fd, sendBufferBytes)
  } catch {
    // The descriptor is no socket, or was just closed. Only speed is lost.
  }
}
