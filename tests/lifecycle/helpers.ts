/** A server on a real socket, and a plugin whose callbacks do what the test says, when it says so. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import {
  andThen,
  type Connection,
  createServer,
  definePlugin,
  type Layer,
  type Log,
  type MaybePromise,
  type OpenRequest,
  type Server,
  type ServerContext,
  type ServerOptions,
} from '../../src/index.js'
import { NBD_CMD_READ, NBD_CMD_WRITE } from '../../src/protocol/constants.js'
import { pair, RawClient, type RawRequest } from '../../src/testing/index.js'

export const diskBytes = 1024 * 1024

/** One call of a device's function, as a test's own function sees it. */
export interface Visit {
  readonly operation: Operation
  readonly offset: number
  readonly length: number
  readonly connection: Connection
  readonly server: ServerContext
}
type Operation = 'read' | 'write' | 'flush' | 'trim' | 'zero' | 'cache' | 'extents' | 'close'
export type Action = (visit: Visit) => MaybePromise<unknown>

/** What to do in each callback, before it answers as a disk does. What is left out answers at once. */
export interface Actions extends Partial<Record<Operation, Action>> {
  readonly setup?: (server: ServerContext) => MaybePromise<void>
  readonly ready?: () => MaybePromise<void>
  readonly accept?: (connection: Connection) => MaybePromise<unknown>
  readonly exports?: (request: OpenRequest) => MaybePromise<void>
  readonly open?: (request: OpenRequest) => MaybePromise<unknown>
  readonly closeLayer?: () => MaybePromise<void>
}

/**
 * A disk of `diskBytes`, the same for every connection. Each call leaves a line in `journal` when it begins.
 */
export function actedDisk(
  actions: Actions,
  journal: string[] = [],
  disk = Buffer.alloc(diskBytes),
): Layer<'plugin'> {
  return definePlugin({
    name: 'disk',
    description: 'a disk whose callbacks do what a test says',
    params: {},
    async setup(_values, server) {
      await actions.setup?.(server)
      return {
        ready: () => actions.ready?.(),
        accept: (connection) => andThen(actions.accept?.(connection), () => {}),
        async exports(request) {
          await actions.exports?.(request)
          return [{ name: '' }]
        },
        close() {
          journal.push('close disk')
          return actions.closeLayer?.()
        },
        async open(request) {
          journal.push(`open ${request.exportName}`.trimEnd())
          await actions.open?.(request)
          const { connection } = request
          const call = <T>(
            operation: Operation,
            offset: number,
            length: number,
            answer: () => T,
          ): MaybePromise<T> => {
            journal.push(operation === 'close' ? 'close' : `${operation} ${length} at ${offset}`)
            const acted = actions[operation]?.({ operation, offset, length, connection, server })
            return andThen(acted, answer)
          }
          return {
            size: diskBytes,
            read: (offset, length) =>
              call('read', offset, length, () => disk.subarray(offset, offset + length)),
            write: (offset, data) => call('write', offset, data.length, () => disk.set(data, offset)),
            flush: () => call('flush', 0, 0, () => {}),
            trim: (offset, length) => call('trim', offset, length, () => {}),
            zero: (offset, length) =>
              call('zero', offset, length, () => void disk.fill(0, offset, offset + length)),
            cache: (offset, length) => call('cache', offset, length, () => {}),
            extents: (offset, length) => call('extents', offset, length, () => [{ length, type: 0 }]),
            close: () => call('close', 0, 0, () => {}),
          }
        },
      }
    },
  })()
}

/** Whoever waits at it goes on when the test opens it. Once open it stays open. */
export class Door {
  /** Resolves when somebody waits. */
  readonly reached: Promise<void>
  readonly #opened: Promise<void>
  #reach = () => {}
  #open = () => {}
  #fail: (error: unknown) => void = () => {}

  constructor() {
    this.reached = new Promise((resolve) => {
      this.#reach = resolve
    })
    this.#opened = new Promise((resolve, reject) => {
      this.#open = resolve
      this.#fail = reject
    })
    this.#opened.catch(() => {})
  }

  wait = (): Promise<void> => {
    this.#reach()
    return this.#opened
  }
  open(): void {
    this.#open()
  }
  fail(error: unknown): void {
    this.#fail(error)
  }
}

/** A log that keeps what it is told, whoever tells it. */
export function collectedLog(): { log: Log; debugs: string[]; errors: string[] } {
  const debugs: string[] = []
  const errors: string[] = []
  const log: Log = {
    debugging: true,
    debug: (message) => void debugs.push(message),
    error: (message) => void errors.push(message),
    child: () => log,
  }
  return { log, debugs, errors }
}

/** A server that clients can reach. */
export interface Site {
  readonly server: Server
  /** Of the Unix socket. */
  readonly path: string
  /** A client that has not yet answered the greeting. */
  client(): Promise<RawClient>
  /** A client that may send requests, and the server's view of it. */
  transmitting(
    options?: Parameters<RawClient['go']>[0],
  ): Promise<{ client: RawClient; connection: Connection }>
}

/** Listens on a Unix socket until the test ends. */
export async function onSocket(t: TestContext, options: ServerOptions): Promise<Site> {
  const directory = mkdtempSync(join(tmpdir(), 'lifecycle-'))
  const path = join(directory, 'socket')
  const server = createServer(options)
  await server.listen({ path })
  return site(
    t,
    server,
    path,
    () => RawClient.connect({ path }),
    () => rmSync(directory, { recursive: true }),
  )
}

/** Serves streams within this process: what one end writes is there for the other at once. */
export async function onPair(t: TestContext, options: ServerOptions): Promise<Site> {
  const server = createServer(options)
  const connect = async () => {
    const [ours, theirs] = pair()
    await server.serve(theirs)
    return new RawClient(ours)
  }
  return site(t, server, '', connect, () => {})
}

function site(
  t: TestContext,
  server: Server,
  path: string,
  connect: () => Promise<RawClient>,
  clean: () => void,
): Site {
  const clients: RawClient[] = []
  t.after(async () => {
    for (const { stream } of clients) stream.destroy()
    await server.shutdown({ graceMs: 0 }).catch(() => {})
    clean()
  })
  const client = async () => {
    const made = await connect()
    clients.push(made)
    return made
  }
  return {
    server,
    path,
    client,
    async transmitting(options) {
      const made = await client()
      await made.go(options)
      const connection = [...server.connections].at(-1)
      assert.ok(connection)
      return { client: made, connection }
    },
  }
}

/** The server has closed the connection, and sent nothing more before it did. */
export async function isGone(client: RawClient): Promise<void> {
  await assert.rejects(client.take(1), /the server closed the connection/)
}

/** Leaves as a program that ends: nothing more is read or written. */
export async function die(client: RawClient): Promise<void> {
  client.stream.destroy()
  await client.closed
}

/** The error of the next simple reply, and whose it is. */
export async function answer(client: RawClient): Promise<{ cookie: number; error: number }> {
  const { cookie, error } = await client.reply()
  return { cookie, error }
}

export function read(cookie: number, offset = 0, length = 512): RawRequest {
  return { type: NBD_CMD_READ, cookie, offset, length }
}

/** Writes `length` bytes of the value of `cookie`. */
export function write(cookie: number, offset = 0, length = 512): RawRequest {
  return { type: NBD_CMD_WRITE, cookie, offset, length, payload: Buffer.alloc(length, cookie) }
}

/** Resolves when `connection` has aborted what runs for it. */
export async function aborted({ signal }: Connection): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort')
}

/** False where what should follow at once does not come: the test then says so, and does not hang. */
export function soon(promise: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 5000, false)
    promise.then(() => resolve(true), reject).finally(() => clearTimeout(timer))
  })
}

/** Gives everything that is ready to happen the time to happen. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate)
}
