/**
 * A server of several threads (`--workers`). This thread accepts clients and passes each to the thread with
 * the fewest. The other threads serve, each with layers of its own.
 */
import { Socket } from 'node:net'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { ConfigError, messageOf, stackOf } from '../../api/errors.js'
import { inheritedAtStart } from '../../api/inherited.js'
import { resolveValues } from '../../api/params.js'
import { type ListenTarget, type Server, type ServerState, StuckError } from '../../api/server.js'
import type { Configured } from '../../chain/configure.js'
import { type Handle, makeSocket } from '../../net/onread-socket.js'
import { descriptorOf } from '../../net/socket-descriptor.js'
import { type Libc, libc, whyNoLibc } from '../../os/libc.js'
import { isShortage, type Listener, listen, uriOf, type Welcome } from '../../server/listen.js'
import { Shortage } from '../../server/shortage.js'
import { allLayers, type LayerWords } from '../modules/layers.js'
import type { Settings } from '../options/settings.js'
import type { Write } from '../output/log-target.js'
import type { Order, Report, WorkerData } from './worker.js'

/** Time for the other threads to finish set-up when one has failed, in ms. */
const setUpMs = 1000

/** The part of a server that the program needs, with one or several threads. */
export type ServedThreads = Pick<Server, 'state' | 'uri' | 'addresses' | 'listen' | 'shutdown' | 'stopped'>

/**
 * The number of threads that serve. 1 means this thread.
 *
 * @throws ConfigError where the layers do not allow that number.
 */
export function workerCount({ workers, stdio }: Settings, layers: Configured): number {
  if (workers === 1 || stdio) return 1
  const why = whyOne(layers)
  if (workers !== 'auto' && why !== undefined) throw new ConfigError(`--workers: ${why}`)
  if (workers === 'auto') return why === undefined ? availableParallelism() : 1
  return workers
}

/** Why only one thread can serve; undefined where several can. */
function whyOne(layers: Configured): string | undefined {
  const single = allLayers(layers).find(({ definition }) => definition.threads === undefined)
  if (single) return `${single.definition.name} cannot be served by several threads`
  return whyNoLibc()
}

export interface WorkersOptions {
  readonly count: number
  readonly settings: Settings
  readonly words: LayerWords
  readonly layers: Configured
  readonly write: Write
  /** Called for an uncaught exception in a thread. */
  readonly crashed: (text: string) => void
}

interface Thread {
  readonly worker: Worker
  clients: number
  /** Resolves when the thread has stopped. Rejects with StuckError where a layer prevents that. */
  readonly stopped: Promise<void>
}

export class WorkerServer implements ServedThreads {
  readonly stopped: Promise<void>
  readonly #options: WorkersOptions
  readonly #threads: Thread[] = []
  readonly #listeners: Listener[] = []
  readonly #addresses: ListenTarget[] = []
  readonly #shortage = new Shortage(() =>
    this.#lose('too many files are open: ulimit -n says how many may be'),
  )
  #state: ServerState = 'created'
  #ready: Promise<void> | undefined
  #stopping = false
  #stop!: (threads: Promise<unknown>) => void

  constructor(options: WorkersOptions) {
    this.#options = options
    this.stopped = new Promise<unknown>((resolve) => {
      this.#stop = resolve
    }).then(() => {
      this.#state = 'stopped'
    })
    this.stopped.catch(() => {})
  }

  get state(): ServerState {
    return this.#state
  }
  get addresses(): readonly ListenTarget[] {
    return this.#addresses
  }
  get uri(): string | undefined {
    const [address] = this.#addresses
    return address && uriOf(address, this.#options.settings.exportName)
  }

  async listen(target: ListenTarget): Promise<void> {
    this.#ready ??= this.#start()
    await this.#ready
    if (this.#stopping) return
    const { keepAlive } = this.#options.settings
    const welcome: Welcome = {
      accept: (client) => this.#accept(client),
      lost: (problem) => this.#options.write(`error: ${problem}`, 'error'),
    }
    const listener = await listen(target, welcome, keepAlive)
    this.#listeners.push(listener)
    if (this.#stopping) listener.close()
    else {
      this.#state = 'serving'
      this.#addresses.push(listener.address)
    }
  }

  shutdown({ graceMs }: { readonly graceMs?: number } = {}): Promise<void> {
    for (const { worker } of this.#threads) order(worker, { shutdown: graceMs })
    if (!this.#stopping) {
      this.#stopping = true
      if (this.#state === 'serving') this.#state = 'draining'
      for (const listener of this.#listeners) listener.close()
      // Starting threads stop as soon as they get the order.
      const started = this.#ready?.catch(() => {}) ?? Promise.resolve()
      this.#stop(started.then(() => allStopped(this.#threads)))
    }
    return this.stopped
  }

  async #start(): Promise<void> {
    const { count, words, layers } = this.#options
    // When every processor serves, a thread that stays awake keeps a client from running.
    const asleep = count < availableParallelism() ? {} : { busyPollUs: 0 }
    const settings = { ...asleep, ...this.#options.settings }
    const shared = await Promise.all(
      allLayers(layers).map(({ definition: { name, params, threads }, inputs }) =>
        typeof threads === 'object' ? threads.share(resolveValues(name, params, inputs)) : undefined,
      ),
    )
    const inherited = inheritedAtStart()
    const ready = Array.from({ length: count }, (_, index) =>
      this.#startThread({ number: index + 1, settings, words, shared, inherited }),
    )
    try {
      await Promise.all(ready)
    } catch (error) {
      // A failure in one thread occurs in each a moment later. Cutting a layer short would make it seem to
      // hang.
      await Promise.race([Promise.allSettled(ready), sleep(setUpMs)])
      throw error
    }
  }

  /** Resolves when the thread is ready for clients. */
  #startThread(data: WorkerData): Promise<void> {
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: data })
    return new Promise((resolve, reject) => {
      let isReady = false
      const stopped = new Promise<void>((stop, giveUp) => {
        worker.on('message', (report: Report) => {
          if (report === 'ready') {
            isReady = true
            resolve()
          } else if (report === 'closed') thread.clients--
          else if (report === 'stopping') void this.shutdown()
          else if (report === 'stopped') stop()
          else if ('log' in report) this.#options.write(report.log, report.level)
          else if ('failed' in report) reject(new ConfigError(report.failed))
          else if ('crashed' in report) this.#options.crashed(report.crashed)
          else {
            giveUp(new StuckError(report.stuck))
            // The thread may never have been ready.
            resolve()
          }
        })
        worker.on('error', (error) => {
          // After it was ready, for example out of memory: its clients are lost. Before that: its own files
          // were not found.
          if (isReady) this.#options.crashed(stackOf(error))
          else reject(new ConfigError(`--workers: a thread cannot be started: ${messageOf(error)}`))
        })
        worker.on('exit', () => {
          stop()
          // A layer requested a shutdown during set-up, which is no failure.
          resolve()
        })
      })
      stopped.catch(() => {})
      const thread: Thread = { worker, clients: 0, stopped }
      this.#threads.push(thread)
      if (this.#stopping) order(worker, { shutdown: undefined })
    })
  }

  #lose(why: string): void {
    this.#options.write(`error: a client cannot be given to a thread: ${why}`, 'error')
  }

  #accept(client: Handle | Socket): void {
    const socket = client instanceof Socket ? client : makeSocket({ handle: client })
    const thread = this.#threads.reduce((a, b) => (b.clients < a.clients ? b : a))
    try {
      const fd = duplicate(socket)
      thread.clients++
      order(thread.worker, { serve: fd })
    } catch (error) {
      // The client has left already, or there are no descriptors left.
      if (isShortage(error)) this.#shortage.happened()
      else this.#lose(messageOf(error))
    }
    socket.destroy()
  }
}

/** Waits for all threads, then throws the first StuckError. Each of them has been logged. */
async function allStopped(threads: readonly Thread[]): Promise<void> {
  const ends = await Promise.allSettled(threads.map(({ stopped }) => stopped))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

function order(worker: Worker, what: Order): void {
  worker.postMessage(what)
}

/** Duplicates the descriptor of a socket for the thread. */
function duplicate(socket: Socket): number {
  return (libc() as Libc).duplicate(descriptorOf(socket) ?? -1)
}
