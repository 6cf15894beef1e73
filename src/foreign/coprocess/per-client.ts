/** A coprocess for each client: a script that stays alive. */
import type { ServerContext } from '../../api/plugin.js'
import { processOf } from '../../api/process-context.js'
import type { Opener } from '../methods/instance.js'
import type { Methods } from '../methods/methods.js'
import { watchFor } from '../scripts/unwanted.js'
import { Coprocess } from './process.js'

export interface PerClientOptions {
  readonly file: string
  /** The value of the script's variable `tmpdir`. */
  readonly directory: string
  readonly server: ServerContext
}

/** The only handle: the script has one client. */
const handle = '1'

/** Time for the script to end after its client was dropped by force, in ms. */
const droppedMs = 10_000

/** Starts `FILE coprocess READONLY EXPORTNAME TLS` for a client. The script ends after its `close`. */
export function openCoprocess({ file, directory, server }: PerClientOptions): Opener {
  return async ({ connection }, words) => {
    const coprocess = new Coprocess({
      file,
      args: ['coprocess', ...words],
      env: { ...process.env, tmpdir: directory },
      speaks: 'standard',
      stdioSafe: true,
      name: file,
      log: server.log,
      busyPollUs: processOf(server).busyPollUs,
      events: {
        shutdown: () => server.shutdown(),
        disconnect: (_, force) => connection.disconnect(force),
      },
    })
    coprocess.begun()
    const ended = new AbortController()
    void coprocess.ended.then(() => ended.abort())
    const on = (signal: AbortSignal, note: string) => {
      const tell = () => coprocess.channel.note(note)
      if (signal.aborted) tell()
      else signal.addEventListener('abort', tell, { once: true, signal: ended.signal })
    }
    on(server.stopping, 'stopping')
    on(connection.signal, `dropped ${handle}`)
    const unwatch = watchFor(
      connection,
      false,
      server,
    )(() => {
      const timer = setTimeout(() => coprocess.kill('its client was dropped, and it does not end'), droppedMs)
      void coprocess.ended.then(() => clearTimeout(timer))
    })
    void coprocess.ended.then(unwatch)
    const methods: Methods = {
      name: file,
      async call(method, words, options) {
        try {
          return await coprocess.channel.call(method, words, options)
        } finally {
          if (method === 'close') {
            unwatch()
            await coprocess.end()
          }
        }
      },
    }
    return { methods, handle }
  }
}
