/** Where clients come from: TCP, Unix sockets, inherited descriptors. */
import { lstatSync, renameSync } from 'node:fs'
import { createServer, type Socket, type Server as SocketServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { bytesOfText, isUtf8 } from '../api/byte-text.js'
import type { Peer } from '../api/connection.js'
import { ConfigError, messageOf, propertyOf } from '../api/errors.js'
import type { ListenTarget } from '../api/server.js'
import { acceptHandles, type Handle } from '../net/onread-socket.js'
import { descriptorOf } from '../net/socket-descriptor.js'
import { libc } from '../os/libc.js'
import { listenAtBytes } from './byte-path.js'
import { Shortage } from './shortage.js'

/** The longest path in a Unix socket's address, in bytes (unix(7): 108 with the NUL). */
const socketPathBytesMax = 107

/** Connections that may wait to be accepted. The system may allow fewer. */
const backlog = 1024

/** Handles clients that connect. */
export interface Welcome {
  /**
   * Takes a client. The socket is paused, and half-open when the client ends its side, so that the client
   * still gets its replies.
   */
  accept(client: Handle | Socket): void
  /** A client was lost before `accept`. `problem` says why, in a sentence without a full stop. */
  lost(problem: string): void
}

/** An address that the server listens on. */
export interface Listener {
  /** The actual address: a port of 0 has been replaced by the number. */
  readonly address: ListenTarget
  /** Stops listening. Removes the file of a Unix socket, unless another file has taken its name. */
  close(): void
}

/**
 * Listens.
 *
 * @throws ConfigError that names the address.
 */
export async function listen(
  target: ListenTarget,
  { accept, lost }: Welcome,
  keepAlive = false,
): Promise<Listener> {
  const pathBytes = 'path' in target ? bytesOfText(target.path).length : 0
  if (pathBytes > socketPathBytesMax)
    throw new ConfigError(
      `the path of a Unix socket has at most ${socketPathBytesMax} bytes, ${nameOf(target)} has ${pathBytes}`,
    )
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive, pauseOnConnect: true })
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      if ('path' in target && !isUtf8(target.path)) listenAtBytes(server, target.path, backlog, resolve)
      else server.listen({ ...target, backlog }, resolve)
    })
  } catch (error) {
    throw new ConfigError(`cannot listen on ${nameOf(target)}: ${reasonOf(error)}`, { cause: error })
  }
  const problem = (error: unknown) => `a client could not be accepted: ${reasonOf(error)}`
  const shortage = new Shortage(() => lost(problem(noDescriptor)))
  server.on('error', (error) => {
    if (isShortage(error)) shortage.happened()
    else lost(problem(error))
  })
  server.on('connection', (socket) => {
    shortage.given(descriptorOf(socket))
    accept(socket)
  })
  acceptHandles(server, (handle) => {
    // As Node does by the options above where it makes the socket.
    handle.setNoDelay?.(true)
    if (keepAlive) handle.setKeepAlive?.(true, 0)
    shortage.given(handle.fd)
    accept(handle)
  })
  // `listenAtBytes` itself removes a path that is not UTF-8.
  const made = 'path' in target && isUtf8(target.path) ? fileAt(target.path) : undefined
  return {
    address: addressOf(server, target),
    close() {
      shortage.end()
      if ('path' in target && made !== undefined) closeOwn(server, target.path, made)
      else server.close()
    },
  }
}

/** Identifies the file at a path, to tell it from another of the same name. Undefined where there is none. */
function fileAt(path: string): string | undefined {
  try {
    const { dev, ino } = lstatSync(path, { bigint: true })
    return `${dev} ${ino}`
  } catch {
    return undefined
  }
}

/**
 * Closes the server. Node removes whatever has the name of its socket by then. Another file, or the socket of
 * another server, is moved aside for that moment.
 */
function closeOwn(server: SocketServer, path: string, made: string): void {
  const found = fileAt(path)
  const aside = `${path}.${process.pid}`
  if (found === undefined || found === made || !rename(path, aside)) {
    server.close()
    return
  }
  server.close()
  rename(aside, path)
}

function rename(from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch {
    return false
  }
}

const noDescriptor = Object.assign(new Error('too many open files'), { code: 'EMFILE' })

/** True where the process, or the system, has no file descriptor left. */
export function isShortage(error: unknown): boolean {
  const code = propertyOf(error, 'code')
  return code === 'EMFILE' || code === 'ENFILE'
}

function nameOf(target: ListenTarget): string {
  if ('path' in target) return target.path
  if ('fd' in target) return `file descriptor ${target.fd}`
  return `${target.host ?? '*'}:${target.port}`
}

function reasonOf(error: unknown): string {
  const code = propertyOf(error, 'code')
  if (code === 'EADDRINUSE') return 'the address is already in use'
  if (code === 'EACCES') return 'permission denied'
  if (code === 'EADDRNOTAVAIL') return 'this machine has no such address'
  if (code === 'EMFILE') return 'too many files are open: ulimit -n says how many may be'
  return messageOf(error)
}

function addressOf(server: SocketServer, target: ListenTarget): ListenTarget {
  const address = server.address()
  if (address === null) return target
  if (typeof address === 'string') return 'path' in target ? target : { path: address }
  return 'port' in target ? { ...target, port: address.port } : { port: address.port, host: address.address }
}

/** The URI as nbdkit prints it (nbdkit-captive(1)). */
export function uriOf(address: ListenTarget, exportName: string): string | undefined {
  const name = percentEncode(exportName)
  if ('path' in address)
    return `nbd+unix://${name === '' ? '' : `/${name}`}?socket=${percentEncode(address.path)}`
  if (!('port' in address)) return undefined
  const { host: found = 'localhost', name: given = found } = address
  // Wildcard addresses cannot be connected to.
  const host = given === '0.0.0.0' || given === '::' ? 'localhost' : given
  const authority = host.includes(':') ? `[${host.replace('%', '%25')}]` : host
  return `nbd://${authority}:${address.port}${name === '' ? '' : `/${name}`}`
}

/** Percent-encodes each byte that is neither unreserved in a URI nor a slash (RFC 3986). */
function percentEncode(text: string): string {
  const encode = (byte: number) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  return Array.from(bytesOfText(text), (byte) => {
    const character = String.fromCharCode(byte)
    return /[\w.~/-]/.test(character) ? character : encode(byte)
  }).join('')
}

/** The peer of a socket. Call this while the socket is open: afterwards the system has forgotten the peer. */
export function peerOf(stream: Duplex): Peer {
  const { remoteAddress, remotePort } = stream as Socket
  if (remoteAddress !== undefined && remotePort !== undefined)
    return { family: 'tcp', address: asItself(remoteAddress), port: remotePort }
  const fd = descriptorOf(stream)
  return { family: 'unix', ...(fd === undefined ? undefined : libc()?.peerCredentials(fd)) }
}

/**
 * On a dual-stack socket an IPv4 client has an IPv6 address (RFC 4291, 2.5.5.2). Returns the IPv4 address.
 */
function asItself(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')
}
