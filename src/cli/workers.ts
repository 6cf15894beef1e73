/**
 * A server of several threads (`--workers`). This one accepts clients and gives each to the thread that has
 * fewest; the others serve, each with layers of its own.
 */
import { Socket } from 'node:net'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { ConfigError, messageOf, stackOf } from '../api/errors.js'
import { inheritedAtStart } from '../api/inherited.js'
import { resolveValues } from '../api/params.js'
import { type ListenTarget, type Server, type ServerState, StuckError } from '../api/server.js'
import type { Configured } from '../chain/configure.js'
import { type Libc, libc, whyNoLibc } from '../lib/libc.js'
import { type Handle, makeSocket } from '../lib/onread-socket.js'
import { descriptorOf } from '../lib/socket-descriptor.js'
import { isShortage, type Listener, listen, uriOf, type Welcome } from '../server/listen.js'
import { Shortage } from '../server/shortage.js'
import { allLayers, type LayerWords } from './layers.js'
import type { Write } from './log-target.js'
import type { Settings } from './settings.js'
import type { Order, Report, WorkerData } from './worker.js'

/** How long the other threads may still be set up when one of them has failed, in ms. */
const setUpMs = 1000

/** What the program needs of a server, whether it has one thread or several. */
export type Served = Pick<Server, 'state' | 'uri' | 'addresses' | 'listen' | 'shutdown' | 'stopped'>

/**
 * How many threads are to serve. 1: this one.
 *
 * @throws ConfigError where so many were asked for as the layers do not allow.
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
  /** Something threw in a thread that nobody caught. */
  readonly crashed: (text: string) => void
}

interface Thread {
  readonly worker: Worker
  clients: number
  /** Resolves when it has stopped; rejects with StuckError where a layer does not let it. */
  readonly stopped: Promise<void>
}

export class WorkerServer implements Served {
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
      // Threads that are being started stop as soon as they are told.
      const started = this.#ready?.catch(() => {}) ?? Promise.resolve()
      this.#stop(started.then(() => allStopped(this.#threads)))
    }
    return this.stopped
  }

  async #start(): Promise<void> {
    const { count, words, layers } = this.#options
    // Where every processor serves, a thread that stays awake keeps a client from running.
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
      // What fails in one thread fails in each, a moment later: a layer that is cut short would seem to hang.
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
            // It may never have been ready.
            resolve()
          }
        })
        worker.on('error', (error) => {
          // Out of memory, for one: its clients are gone with it. Before that: its own files are not found.
          if (isReady) this.#options.crashed(stackOf(error))
          else reject(new ConfigError(`--workers: a thread cannot be started: ${messageOf(error)}`))
        })
        worker.on('exit', () => {
          stop()
          // A layer asked for a shutdown while it was set up: that is no failure.
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
      // It has gone already, or there are no descriptors left.
      if (isShortage(error)) this.#shortage.happened()
      else this.#lose(messageOf(error))
    }
    socket.destroy()
  }
}

/** Waits for all, then throws the first StuckError: each of them has been logged. */
async function allStopped(threads: readonly Thread[]): Promise<void> {
  const ends = await Promise.allSettled(threads.map(({ stopped }) => stopped))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

function order(worker: Worker, what: Order): void {
  worker.postMessage(what)
}

/** The thread's own descriptor of a socket. */
function duplicate(socket: Socket): number {
  return (libc() as Libc).duplicate(descriptorOf(socket) ?? -1)
}
