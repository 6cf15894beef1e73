/** What the system knows of a socket, by its file descriptor. */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { libc } from './libc.js'

/** Twice as much, as Linux counts it: 256 KiB reads of a file were a seventh faster. More gained nothing. */
const sendBufferBytes = 416 * 1024

/** The file descriptor of a socket that is open; undefined for any other stream. */
export function descriptorOf(stream: Duplex): number | undefined {
  const { _handle } = stream as Duplex & { _handle?: { fd?: number } | null }
  const { fd = -1 } = _handle ?? {}
  return fd < 0 ? undefined : fd
}

/**
 * Lets a Unix socket take more at once. Linux gives it less than 256 KiB, and the rest of each large reply
 * would wait until the client has taken some. TCP sees to that by itself.
 */
export function widen(stream: Duplex): void {
  const fd = descriptorOf(stream)
  if (fd === undefined || (stream as Socket).remoteAddress !== undefined) return
  try {
    libc()?.setSendBuffer(fd, sendBufferBytes)
  } catch {
    // It is no socket, or has just been closed: all that it costs is speed.
  }
}
