/** Listens on every address, and explains failures better than the system does. */
import { existsSync, lstatSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { fsPath, isUtf8 } from '../../api/byte-text.js'
import { ConfigError, propertyOf } from '../../api/errors.js'
import type { ListenTarget } from '../../api/server.js'
import type { ServedThreads } from './workers.js'

/**
 * A port of 0 takes a free port for the first address, and the same port for the others.
 *
 * @throws ConfigError that names the address where listening failed.
 */
export async function listenOnAll(server: ServedThreads, places: readonly ListenTarget[]): Promise<void> {
  for (const place of places) {
    const [first] = server.addresses
    const isAny = 'port' in place && place.port === 0
    const target = isAny && first && 'port' in first ? { ...place, port: first.port } : place
    try {
      await server.listen(target)
    } catch (error) {
      if (!('path' in target)) throw error
      const why = await reason(codeOf(error), target.path)
      if (why === undefined) throw error
      throw new ConfigError(`cannot listen on ${target.path}: ${why}`, { cause: error })
    }
  }
}

function codeOf(error: unknown): unknown {
  return propertyOf(propertyOf(error, 'cause'), 'code')
}

/**
 * Explains the failure. Does not remove a socket for the user: another server may be about to listen there.
 */
async function reason(code: unknown, path: string): Promise<string | undefined> {
  if (code === 'EACCES' && !existsSync(fsPath(dirname(path)))) return `there is no directory ${dirname(path)}`
  const stats = code === 'EADDRINUSE' ? lstatSync(fsPath(path), { throwIfNoEntry: false }) : undefined
  if (stats === undefined) return undefined
  if (!stats.isSocket()) return 'it exists, and is no socket'
  // Node cannot connect to a path that is not UTF-8.
  if (!isUtf8(path)) return undefined
  if (await answers(path)) return 'another server listens there'
  return 'a server that has ended left it behind: remove it with "rm", and start again'
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    // Any other failure to connect also means that somebody uses the socket.
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'))
  })
}
