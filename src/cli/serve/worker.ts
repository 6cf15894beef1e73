/**
 * One of the threads of `--workers`, with a server of the same layers. The first thread passes it clients, by
 * the file descriptors of their sockets, and tells it when to stop.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { messageOf, stackOf } from '../../api/errors.js'
import { rememberInherited } from '../../api/inherited.js'
import { type Level, messageLog } from '../../lib/message-log.js'
import { createServer } from '../../server/server.js'
import { type LayerWords, loadLayers } from '../modules/layers.js'
import { logByFlags } from '../options/debug-flags.js'
import { serverOptions } from '../options/server-options.js'
import type { Settings } from '../options/settings.js'
import { startFailure } from '../output/output.js'

export interface WorkerData {
  /** Counted from 1, for messages. */
  readonly number: number
  readonly settings: Settings
  readonly words: LayerWords
  readonly shared: readonly unknown[]
  readonly inherited: readonly number[]
}

/** A message to the thread. */
export type Order = { readonly serve: number } | { readonly shutdown: number | undefined }

/** A message from the thread. */
export type Report =
  | 'ready'
  | 'closed'
  | 'stopping'
  | 'stopped'
  | { readonly log: string; readonly level: Level }
  /** The thread could not be set up. */
  | { readonly failed: string }
  | { readonly crashed: string }
  | { readonly stuck: string }

async function work(
  port: MessagePort,
  { number, settings, words, shared, inherited }: WorkerData,
): Promise<void> {
  rememberInherited(inherited)
  const report = (what: Report) => port.postMessage(what)
  const write = (text: string, level: Level) => report({ log: `worker ${number}: ${text}`, level })
  const log = logByFlags(messageLog(settings.verbose, write), settings.debugFlags)
  process.on('uncaughtException', (error: unknown) => report({ crashed: stackOf(error) }))
  const layers = await loadLayers(words)
  const server = createServer({ ...serverOptions(settings, log), ...layers, shared })
  server.stopping.then(() => report('stopping'))
  server.stopped.then(
    () => report('stopped'),
    (error: unknown) => report({ stuck: messageOf(error) }),
  )
  port.on('message', (order: Order) => {
    if ('shutdown' in order) {
      const { shutdown: graceMs } = order
      server.shutdown(graceMs === undefined ? {} : { graceMs }).catch(() => {})
    } else
      server
        .serve({ fd: order.serve })
        .then(({ closed }) => closed)
        // The client came while the server was stopping, or had left: there is nobody to tell.
        .catch((error: unknown) => log.debugging && log.debug(messageOf(error)))
        .finally(() => report('closed'))
  })
  await server.ready()
  report('ready')
  await server.stopped
  port.close()
}

if (parentPort !== null) {
  const port = parentPort
  work(port, workerData as WorkerData).catch((error: unknown) => {
    const { verbose } = (workerData as WorkerData).settings
    port.postMessage({ failed: startFailure(error, verbose) } satisfies Report)
    port.close()
  })
}
