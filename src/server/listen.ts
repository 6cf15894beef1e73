/** Where clients come from: TCP, Unix sockets, inherited descriptors. */
import { createServer, type Socket, type Server as SocketServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { bytesOfText, isUtf8 } from '../api/byte-text.js'
import type { Peer } from '../api/connection.js'
import { ConfigError, messageOf } from '../api/errors.js'
import type { ListenTarget } from '../api/server.js'
import { libc } from '../lib/libc.js'
import { acceptHandles, type Handle } from '../lib/onread-socket.js'
import { descriptorOf } from '../lib/socket-descriptor.js'
import { listenAtBytes } from './byte-path.js'

/** The longest path that a Unix socket's address holds, in bytes (unix(7): 108 with the NUL). */
const socketPathBytesMax = 107

/** Connections that wait to be accepted; the system may allow fewer. */
const backlog = 1024

/** What becomes of those who connect. */
export interface Welcome {
  /** Paused, and half-open when the client ends its side, so that it still gets its answers. */
  accept(client: Handle | Socket): void
  /** A client was lost before that, which `problem` says in a sentence without a full stop. */
  lost(problem: string): void
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
): Promise<SocketServer> {
  const pathBytes = 'path' in target ? bytesOfText(target.path).length : 0
  if (pathBytes > socketPathBytesMax)
    throw new ConfigError(
      `the path of a Unix socket has at most ${socketPathBytesMax} bytes, ${nameOf(target)} has ${pathBytes}`,
    )
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive, pauseOnConnect: true }, accept)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      if ('path' in target && !isUtf8(target.path)) listenAtBytes(server, target.path, backlog, resolve)
      else server.listen({ ...target, backlog }, resolve)
    })
  } catch (error) {
    throw new ConfigError(`cannot listen on ${nameOf(target)}: ${reasonOf(error)}`, { cause: error })
  }
  server.on('error', (error) => lost(`a client could not be accepted: ${reasonOf(error)}`))
  acceptHandles(server, (handle) => {
    // As Node does it, by the options above, where it makes the socket.
    handle.setNoDelay?.(true)
    if (keepAlive) handle.setKeepAlive?.(true, 0)
    accept(handle)
  })
  return server
}

function nameOf(target: ListenTarget): string {
  if ('path' in target) return target.path
  if ('fd' in target) return `file descriptor ${target.fd}`
  return `${target.host ?? '*'}:${target.port}`
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE') return 'the address is already in use'
  if (code === 'EACCES') return 'permission denied'
  if (code === 'EADDRNOTAVAIL') return 'this machine has no such address'
  if (code === 'EMFILE') return 'too many files are open: ulimit -n says how many may be'
  return messageOf(error)
}

/** What is really listened on: a port of 0 has become a number. */
export function addressOf(server: SocketServer, target: ListenTarget): ListenTarget {
  const address = server.address()
  if (address === null) return target
  if (typeof address === 'string') return 'path' in target ? target : { path: address }
  return 'port' in target ? { ...target, port: address.port } : { port: address.port, host: address.address }
}

/** As nbdkit prints it (nbdkit-captive(1)). */
export function uriOf(address: ListenTarget, exportName: string): string | undefined {
  const name = percentEncode(exportName)
  if ('path' in address)
    return `nbd+unix://${name === '' ? '' : `/${name}`}?socket=${percentEncode(address.path)}`
  if (!('port' in address)) return undefined
  const { host: found = 'localhost', name: given = found } = address
  // Those that stand for all interfaces are no place to connect to.
  const host = given === '0.0.0.0' || given === '::' ? 'localhost' : given
  const authority = host.includes(':') ? `[${host.replace('%', '%25')}]` : host
  return `nbd://${authority}:${address.port}${name === '' ? '' : `/${name}`}`
}

/** Each byte that is neither unreserved in a URI nor a slash (RFC 3986). */
function percentEncode(text: string): string {
  const encode = (byte: number) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  return Array.from(bytesOfText(text), (byte) => {
    const character = String.fromCharCode(byte)
    return /[\w.~/-]/.test(character) ? character : encode(byte)
  }).join('')
}

/** Who is at the other end of a socket. Asked for while it is open: afterwards the system has forgotten. */
export function peerOf(stream: Duplex): Peer {
  const { remoteAddress, remotePort } = stream as Socket
  if (remoteAddress !== undefined && remotePort !== undefined)
    return { family: 'tcp', address: remoteAddress, port: remotePort }
  const fd = descriptorOf(stream)
  return { family: 'unix', ...(fd === undefined ? undefined : libc()?.peerCredentials(fd)) }
}
