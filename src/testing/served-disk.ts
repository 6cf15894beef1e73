/** A disk in memory that notes its calls, and a server for the disk: for the tests of the server itself. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import type { DeviceInit, WriteFlags } from '../api/device.js'
import { NbdError } from '../api/errors.js'
import type { Log } from '../api/log.js'
import type { MaybePromise } from '../api/maybe.js'
import { definePlugin, type Layer, type OpenRequest, type PluginInstance } from '../api/plugin.js'
import type { Server, ServerOptions } from '../api/server.js'
import { createServer } from '../server/server.js'
import { pair } from './pair.js'
import { RawClient } from './raw-client.js'

/**
 * `now` returns values, `later` answers in the next turn of the event loop, `by hand` when the test releases
 * it.
 */
export type Answers = 'now' | 'later' | 'by hand'

export interface DiskOptions {
  /** In bytes: 64 KiB unless given. */
  readonly size?: number
  readonly answers?: Answers
  /** Replaces methods of the disk, or adds to them: read, write, flush, trim, zero, cache. */
  readonly device?: Partial<DeviceInit>
  readonly plugin?: Partial<PluginInstance>
  /** Returns true for exports that cannot be opened. */
  readonly refuses?: (exportName: string) => boolean
  /** Methods of the disk to leave out. */
  readonly without?: readonly ('write' | 'flush' | 'trim' | 'zero' | 'cache')[]
}

/** A call that the test has to answer. */
interface Held {
  readonly call: string
  release(error?: unknown): void
}

export class Disk {
  readonly bytes: Buffer
  readonly plugin: Layer<'plugin'>
  /** Every call that reached the disk: `write 512 at 0 fua`. */
  readonly calls: string[] = []
  /** Calls that wait for the test, in the order they came. */
  readonly held: Held[] = []
  readonly opened: OpenRequest[] = []
  closed = 0
  readonly #answers: Answers

  constructor(options: DiskOptions = {}) {
    this.bytes = patterned(options.size ?? 65536)
    this.#answers = options.answers ?? 'now'
    const instance: PluginInstance = {
      open: (request) => {
        if (options.refuses?.(request.exportName))
          throw new NbdError('EIO', `there is no disk "${request.exportName}"`)
        this.opened.push(request)
        return this.#device(options)
      },
      ...options.plugin,
    }
    this.plugin = definePlugin({
      name: 'disk',
      description: 'for tests',
      params: {},
      setup: () => instance,
    })()
  }

  /** Resolves when `count` calls wait for the test. Rejects where they do not come. */
  async holds(count: number): Promise<void> {
    for (let turns = 0; this.held.length < count; turns++) {
      if (turns > 10_000) throw new Error(`${this.held.length} calls came, and not ${count}`)
      await turn()
    }
  }

  /** Answers the oldest waiting call. */
  release(error?: unknown): void {
    const held = this.held.shift()
    if (held === undefined) throw new Error('no call waits')
    held.release(error)
  }

  releaseAll(): void {
    while (this.held.length > 0) this.release()
  }

  #device(options: DiskOptions): DeviceInit {
    const { bytes } = this
    const whole: DeviceInit = {
      size: bytes.length,
      read: (offset, length, alloc) =>
        this.#answer(`read ${length} at ${offset}`, () => {
          if (this.#answers === 'now') return bytes.subarray(offset, offset + length)
          const data = alloc(length)
          data.set(bytes.subarray(offset, offset + length))
          return data
        }),
      write: (offset, data, flags) =>
        this.#answer(`write ${data.length} at ${offset}${names(flags)}`, () => bytes.set(data, offset)),
      flush: () => this.#answer('flush', () => {}),
      trim: (offset, length, flags) =>
        this.#answer(`trim ${length} at ${offset}${names(flags)}`, () => {
          bytes.fill(0, offset, offset + length)
        }),
      zero: (offset, length, flags) =>
        this.#answer(`zero ${length} at ${offset}${names(flags)}`, () => {
          bytes.fill(0, offset, offset + length)
        }),
      cache: (offset, length) => this.#answer(`cache ${length} at ${offset}`, () => {}),
      close: () => {
        this.closed++
      },
      ...options.device,
    }
    const device: Partial<Record<keyof DeviceInit, unknown>> = { ...whole }
    for (const method of options.without ?? []) delete device[method]
    return device as DeviceInit
  }

  #answer<T>(call: string, work: () => T): MaybePromise<T> {
    this.calls.push(call)
    if (this.#answers === 'now') return work()
    if (this.#answers === 'later') return turn().then(work)
    return new Promise((resolve, reject) => {
      const release = (error?: unknown) => (error === undefined ? resolve(work()) : reject(error))
      this.held.push({ call, release })
    })
  }
}

/** Returns bytes that tell their place: each 32-bit word is its own offset, mixed. */
export function patterned(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(Math.imul(at + 1, 0x9e3779b1) >>> 0, at)
  return bytes
}

function names(flags: WriteFlags): string {
  const set = Object.entries(flags).filter(([, isSet]) => isSet === true)
  return set.map(([name]) => ` ${name}`).join('')
}

/** A server for one test. It ends with the test, whatever its clients do. */
export interface Served {
  readonly server: Server
  /** The errors that the server logged. */
  readonly errors: readonly string[]
  /** A client over a pair of streams in this process. */
  connect(): RawClient
  /** A client over a Unix socket, where the server receives into memory of its own. */
  connectSocket(): Promise<RawClient>
}

/** The time after which the clients of a test hang up, in ms: far longer than any test takes. */
const patienceMs = 60_000

/** The context that node:test passes to a test. */
interface Test {
  after(fn: () => Promise<void>): void
}

export function serve(t: Test, disk: Disk, options: Partial<ServerOptions> = {}): Served {
  const errors: string[] = []
  const log: Log = {
    debugging: false,
    debug() {},
    error: (message) => void errors.push(message),
    child: () => log,
  }
  const server = createServer({ plugin: disk.plugin, log, ...options })
  const clients: RawClient[] = []
  let folder: Promise<string> | undefined
  const hangUp = () => {
    for (const { stream } of clients) stream.destroy()
  }
  // A test that waits in vain then fails by itself, and the other tests go on.
  const watchdog = setTimeout(hangUp, patienceMs)
  const listen = async () => {
    const made = await mkdtemp(join(tmpdir(), 'served-disk-'))
    await server.listen({ path: join(made, 'socket') })
    return made
  }
  t.after(async () => {
    clearTimeout(watchdog)
    hangUp()
    disk.releaseAll()
    await server.shutdown({ graceMs: 0 })
    if (folder) await rm(await folder, { recursive: true })
  })
  const kept = (client: RawClient) => {
    clients.push(client)
    return client
  }
  return {
    server,
    errors,
    connect() {
      const [ours, theirs] = pair()
      server.serve(ours).catch(() => theirs.destroy())
      return kept(new RawClient(theirs))
    },
    async connectSocket() {
      folder ??= listen()
      return kept(await RawClient.connect({ path: join(await folder, 'socket') }))
    },
  }
}
