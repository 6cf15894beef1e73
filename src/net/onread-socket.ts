/** Sockets that receive into the program's own memory, instead of a buffer that Node makes for each chunk. */
import { Socket, type Server as SocketServer } from 'node:net'

export interface OnRead {
  /** The memory for the next bytes. */
  buffer(): Uint8Array
  /** `length` bytes were received into it. Returns false where no more should be read for now. */
  callback(length: number): boolean
}

/** Node's internal handle of a socket. */
export interface Handle {
  readonly bytesWritten?: number
  /** Bytes of those that the system has not taken yet. */
  readonly writeQueueSize?: number
  readonly fd?: number
  setNoDelay?(on: boolean): void
  setKeepAlive?(on: boolean, delaySeconds: number): void
}

/**
 * The written bytes of a socket that the system has taken, including part of a long write in progress.
 * Undefined for any other stream.
 */
export function takenBytes(stream: object): number | undefined {
  const { _handle } = stream as { _handle?: Handle | null }
  const { bytesWritten, writeQueueSize } = _handle ?? {}
  return bytesWritten === undefined || writeQueueSize === undefined
    ? undefined
    : bytesWritten - writeQueueSize
}

/** Exactly one of the two. */
type Connected =
  | { readonly handle: Handle; readonly fd?: never }
  | { readonly fd: number; readonly handle?: never }

/** Other runtimes have Node's interface without its internals. There a socket is used like any stream. */
const canReceiveInto =
  process.release.name === 'node' && !('bun' in process.versions) && !('deno' in process.versions)

/**
 * Makes a socket over a handle, or over the descriptor of a connected socket. It does not read before
 * `resume`. Node allows `onread` only when the program makes the socket.
 *
 * @throws Error where the descriptor cannot be a socket.
 */
export function makeSocket({ handle, fd }: Connected, onread?: OnRead): Socket {
  const options = { handle, fd, onread, allowHalfOpen: true, pauseOnCreate: true }
  return new Socket(options as unknown as ConstructorParameters<typeof Socket>[0])
}

/**
 * Moves the handle of a socket that has read nothing to a new socket; the old one loses it. Returns undefined
 * where that is impossible: the old socket then works like any stream, only slower.
 */
export function adoptSocket(made: Socket, onread: OnRead): Socket | undefined {
  const holder = made as unknown as { _handle: Handle | null }
  const handle = holder._handle
  if (!canReceiveInto || handle === null || typeof handle !== 'object') return undefined
  const socket = makeSocket({ handle }, onread)
  holder._handle = null
  made.destroy()
  return socket
}

/**
 * Calls `accept` with each client's handle before Node makes a socket of it, which would have to be made
 * again. Where that is impossible, clients still arrive as `connection` events.
 */
export function acceptHandles(listener: SocketServer, accept: (handle: Handle) => void): void {
  const { _handle: listening } = listener as unknown as {
    _handle?: { onconnection?: (status: number, client?: Handle) => void } | null
  }
  const original = listening?.onconnection
  if (!canReceiveInto || !listening || typeof original !== 'function') return
  listening.onconnection = function (status, client) {
    if (client && status === 0) accept(client)
    else original.call(this, status, client)
  }
}
