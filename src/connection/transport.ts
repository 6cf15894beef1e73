/**
 * A stream as a connection needs it: reading, without a copy where possible, writing, pausing, and the end.
 */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { adoptSocket, type Handle, makeSocket, type OnRead } from '../net/onread-socket.js'

/** How a connection handles the incoming side of its stream. */
export interface Receiver {
  /** Returns the memory for the next bytes. */
  buffer(): Uint8Array
  /**
   * Reports `length` bytes, received into the result of `buffer` or as all of `chunk`, which has memory of
   * its own. The bytes may be used until this returns. Returns false where reading should stop until
   * `resume`.
   */
  received(length: number, chunk?: Uint8Array): boolean
  /** The peer will send no more. */
  ended(): void
  /** The stream is gone. `error` says why, where the end was not asked for. */
  closed(error: Error | undefined): void
}

export interface Transport {
  readonly stream: Duplex
  /**
   * True where the stream no longer uses written memory once `stream.writableLength` is 0. A socket has then
   * given the bytes to the system. Any other stream may have passed the chunk itself to its reader.
   */
  readonly copies: boolean
  /** Starts reading, or goes on after `received` returned false. */
  resume(): void
}

/** Makes the transport that passes received bytes to `receiver`. It does not read before `resume`. */
export type Connect = (receiver: Receiver) => Transport

/** Over any stream. Uses the stream's own chunks. */
export function overStream(stream: Duplex): Connect {
  return (receiver) => {
    stream.pause()
    stream.on('data', (chunk: Uint8Array) => {
      if (!receiver.received(chunk.length, chunk)) stream.pause()
    })
    watchEnd(stream, receiver)
    return { stream, copies: stream instanceof Socket, resume: () => void stream.resume() }
  }
}

/** A client from a listener: a socket where Node, or another runtime, has made one already. */
export function overAccepted(client: Handle | Socket): Connect {
  if (client instanceof Socket) return overStream(client)
  return (receiver) => receiveInto(makeSocket({ handle: client }, onReadOf(receiver)), receiver)
}

/**
 * Over a connected socket, given by its file descriptor. The descriptor is closed with the connection.
 *
 * @throws Error where the descriptor is no stream that can be served.
 */
export function overDescriptor(fd: number): Connect {
  const socket = makeSocket({ fd }).setNoDelay(true)
  return (receiver) => {
    const adopted = adoptSocket(socket, onReadOf(receiver))
    return adopted ? receiveInto(adopted, receiver) : overStream(socket)(receiver)
  }
}

/** Receives into memory of ours. */
function receiveInto(stream: Socket, receiver: Receiver): Transport {
  watchEnd(stream, receiver)
  return { stream, copies: true, resume: () => void stream.resume() }
}

function onReadOf(receiver: Receiver): OnRead {
  return { buffer: () => receiver.buffer(), callback: (length) => receiver.received(length) }
}

function watchEnd(stream: Duplex, receiver: Receiver): void {
  let failure: Error | undefined
  stream.on('end', () => receiver.ended())
  stream.on('error', (error) => {
    failure = error
  })
  stream.on('close', () => receiver.closed(failure))
  // A stream that died while it waited for its turn has already emitted its events.
  if (stream.destroyed) process.nextTick(() => receiver.closed(undefined))
}
