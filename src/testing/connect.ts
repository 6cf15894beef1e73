import type { Connection } from '../api/connection.js'
import type { Log } from '../api/log.js'
import type { Server } from '../api/server.js'
import { pair } from './pair.js'
import { RawClient } from './raw-client.js'

/** A client in this process that has reached the default export. */
export async function connectTo(
  server: Server,
): Promise<{ readonly client: RawClient; readonly connection: Connection }> {
  const [ours, theirs] = pair()
  const connection = await server.serve(theirs)
  const client = new RawClient(ours)
  await client.go()
  return { client, connection }
}

/** A log that keeps what it is told. */
export function keptLog(): { readonly errors: string[]; readonly debugs: string[]; readonly log: Log } {
  const [errors, debugs]: [string[], string[]] = [[], []]
  const log: Log = {
    debugging: true,
    debug: (message) => debugs.push(message),
    error: (message) => errors.push(message),
    child: () => log,
  }
  return { errors, debugs, log }
}
