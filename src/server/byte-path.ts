/**
 * Unix sockets whose path is not UTF-8. Node encodes paths as UTF-8 and would create the socket elsewhere.
 */
import { closeSync, linkSync, lstatSync, openSync, unlinkSync } from 'node:fs'
import type { Server } from 'node:net'
import { dirname } from 'node:path'
import { fsPath } from '../api/byte-text.js'

/**
 * Listens under a temporary name that Node can encode, in the same directory, and links the socket to its own
 * name before calling `listening`. The directory is reached through its descriptor, for which Linux has a
 * short path in UTF-8. When the server closes, the name is removed if it still belongs to this socket.
 */
export function listenAtBytes(server: Server, path: string, backlog: number, listening: () => void): void {
  const directory = openSync(fsPath(dirname(path)), 'r')
  const passing = `/proc/self/fd/${directory}/.nbdkit-ts-${process.getBuiltinModule('node:crypto').randomUUID()}`
  const forget = () => closeSync(directory)
  server.once('error', forget)
  server.listen({ path: passing, backlog }, () => {
    server.off('error', forget)
    try {
      linkSync(passing, fsPath(path))
      const { dev, ino } = lstatSync(passing)
      const close = server.close.bind(server)
      // Node removes the name it knows within this call, before it returns. This removes ours likewise.
      server.close = (closed) => {
        const now = lstatSync(fsPath(path), { throwIfNoEntry: false })
        if (now?.dev === dev && now.ino === ino) unlinkSync(fsPath(path))
        return close(closed)
      }
      unlinkSync(passing)
      listening()
    } catch (error) {
      server.close()
      server.emit('error', taken(error))
    } finally {
      forget()
    }
  })
}

/** A name that exists already means an address in use. */
function taken(error: unknown): unknown {
  return (error as NodeJS.ErrnoException).code === 'EEXIST'
    ? Object.assign(new Error('the address is already in use', { cause: error }), { code: 'EADDRINUSE' })
    : error
}
