/** Unix sockets whose path is not UTF-8, which Node encodes as UTF-8 and so would make elsewhere. */
import { randomUUID } from 'node:crypto'
import { closeSync, linkSync, lstatSync, openSync, unlinkSync } from 'node:fs'
import type { Server } from 'node:net'
import { dirname } from 'node:path'
import { fsPath } from '../api/byte-text.js'

/**
 * Listens under a name that Node can make, in the same directory, and gives the socket its own name before
 * anybody is told. The directory is reached by a descriptor, as Linux has a path for each: a path that is
 * UTF-8 and short. The name is taken away when the server closes, if it is still this socket's.
 */
export function listenAtBytes(server: Server, path: string, backlog: number, listening: () => void): void {
  const directory = openSync(fsPath(dirname(path)), 'r')
  const passing = `/proc/self/fd/${directory}/.nbdkit-ts-${randomUUID()}`
  const forget = () => closeSync(directory)
  server.once('error', forget)
  server.listen({ path: passing, backlog }, () => {
    server.off('error', forget)
    try {
      linkSync(passing, fsPath(path))
      const { dev, ino } = lstatSync(passing)
      const close = server.close.bind(server)
      // Node removes the name that it knows in this call, before it returns: so is this one.
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

/** A name that is there already is an address in use. */
function taken(error: unknown): unknown {
  return (error as NodeJS.ErrnoException).code === 'EEXIST'
    ? Object.assign(new Error('the address is already in use', { cause: error }), { code: 'EADDRINUSE' })
    : error
}
