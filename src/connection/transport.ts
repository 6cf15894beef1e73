/**
 * A stream as a connection needs it: bytes in without a copy where that can be had, bytes out, pause, the
 * end.
 */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { adoptSocket, type Handle, makeSocket, type OnRead } from '../lib/onread-socket.js'

/** What a connection does with what comes. */
export interface Receiver {
  /** The memory for the next bytes. */
  buffer(): Uint8Array
  /**
   * `length` bytes came into what `buffer` gave, or all of `chunk` in memory of its own. They may be used
   * until this returns. False: no more until `resume`.
   */
  received(length: number, chunk?: Uint8Array): boolean
  /** The peer will send no more. */
  ended(): void
  /** The stream is gone; `error` says why, where it was not asked for. */
  closed(error: Error | undefined): void
}

export interface Transport {
  readonly stream: Duplex
  /**
   * True: once `stream.writableLength` is 0, the stream has no more use for the memory that was written. A
   * socket has given the bytes to the system then. Any other stream may have passed the very chunk on to its
   * reader.
   */
  readonly copies: boolean
  /** Begins to read, or goes on after `received` returned false. */
  resume(): void
}

/** Makes the transport that gives what it receives to `receiver`. It does not read before `resume`. */
export type Connect = (receiver: Receiver) => Transport

/** Any stream: its own chunks are used. */
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

/** A client as a listener gives it: a socket where Node, or another runtime, has made one already. */
export function overAccepted(client: Handle | Socket): Connect {
  if (client instanceof Socket) return overStream(client)
  return (receiver) => receiveInto(makeSocket({ handle: client }, onReadOf(receiver)), receiver)
}

/**
 * A connected socket, by its file descriptor. It is closed with the connection.
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

/** It receives into memory of ours. */
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
  // One that died while it waited for its turn has said so already.
  if (stream.destroyed) process.nextTick(() => receiver.closed(undefined))
}
