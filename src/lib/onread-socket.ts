/** Sockets that receive into memory of the program's own, in place of one that Node makes for each chunk. */
import { Socket, type Server as SocketServer } from 'node:net'

export interface OnRead {
  /** The memory for the next bytes. */
  buffer(): Uint8Array
  /** `length` bytes came into it. False: no more for now. */
  callback(length: number): boolean
}

/** What Node keeps inside of a socket. */
export interface Handle {
  readonly bytesWritten?: number
  /** Of those, bytes that the system has not taken yet. */
  readonly writeQueueSize?: number
  readonly fd?: number
  setNoDelay?(on: boolean): void
  setKeepAlive?(on: boolean, delaySeconds: number): void
}

/**
 * Bytes that the system has taken of what was written to a socket, also of a long write that is under way.
 * Undefined for any other stream.
 */
export function takenBytes(stream: object): number | undefined {
  const { _handle } = stream as { _handle?: Handle | null }
  const { bytesWritten, writeQueueSize } = _handle ?? {}
  return bytesWritten === undefined || writeQueueSize === undefined
    ? undefined
    : bytesWritten - writeQueueSize
}

/** One of the two. */
type Connected =
  | { readonly handle: Handle; readonly fd?: never }
  | { readonly fd: number; readonly handle?: never }

/** Other runtimes wear Node's interface without its inside: there a socket is used as any stream. */
const canReceiveInto =
  process.release.name === 'node' && !('bun' in process.versions) && !('deno' in process.versions)

/**
 * A socket over a handle, or over the descriptor of a connected one. It does not read before `resume`. Node
 * lets a socket receive so (`onread`) only when the program makes it.
 *
 * @throws Error where it cannot be a socket.
 */
export function makeSocket({ handle, fd }: Connected, onread?: OnRead): Socket {
  const options = { handle, fd, onread, allowHalfOpen: true, pauseOnCreate: true }
  return new Socket(options as unknown as ConstructorParameters<typeof Socket>[0])
}

/**
 * A new socket over the handle of one that has read nothing; the old one forgets it. Undefined where that is
 * not possible: use the old one as any stream, which is slower and never wrong.
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
 * Calls `accept` with the handle of each client, before Node makes a socket of it that would be made again.
 * Where that is not possible, clients go on coming as the event `connection`.
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
