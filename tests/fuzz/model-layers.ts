/**
 * The layers of the model: a disk and filters that do to each request what its plan says, and watch each
 * other.
 */
import {
  type Concurrency,
  type Connection,
  type Data,
  type Device,
  type DeviceInit,
  defineFilter,
  definePlugin,
  isPromise,
  type Layer,
  type MaybePromise,
  NbdError,
  type OpenRequest,
  type ServerContext,
} from '../../src/index.js'
import { NBD_EIO, NBD_ENOSPC } from '../../src/protocol/constants.js'
import { type Asked, blockBytes, type Client, describe, payloadOf } from './model-client.js'

export const diskBlocks = 512
export const diskBytes = diskBlocks * blockBytes

/** How one layer treats one request. A filter also goes on to the next layer, unless it fails. */
export interface Manner {
  /** When it answers: at once, after a few microtasks, or when the model opens the door. */
  readonly waits: 'not' | 'briefly' | 'long'
  /** Of a filter: before it goes on, or after. */
  readonly first: boolean
  /** Of a filter: it answers with an error while the layers below still work. */
  readonly early: boolean
  readonly fails: 'not' | 'ENOSPC' | 'crash'
  /** What it asks for in the meantime. */
  readonly asks: 'nothing' | 'soft' | 'linger' | 'force' | 'shutdown'
}

/** A manner for each layer, outermost first; the plugin's is the last. */
export interface Plan {
  readonly manners: readonly Manner[]
  /** A write is copied when it begins, or when it ends; a read gives a view of the disk, or a copy. */
  readonly keeps: boolean
}

/** What the layers need of the model. */
export interface Watch {
  clientOf(exportName: string): Client
  /** The server called the outermost layer: which request was that? */
  entered(client: Client, operation: string, offset: number, length: number): Asked
  settled(client: Client, asked: Asked): void
  /** Waits until the model opens the door. */
  hold(client: Client | undefined, what: string): Promise<void>
  asks(client: Client, what: Manner['asks'], server: ServerContext): void
  /** What a layer does in `open` and `close`. */
  moment(client: Client | undefined, what: string, mayFail: boolean): MaybePromise<void>
  opened(client: Client, layer: number): void
  closing(client: Client, layer: number): void
  closed(client: Client, layer: number): void
  layerClosing(layer: number): void
  layerClosed(layer: number): void
  written(client: Client, asked: Asked, data: Uint8Array): void
  /** Memory for a write that is to come, or none. */
  lends(client: Client, offset: number, length: number): Uint8Array | undefined
  released(client: Client, window: Uint8Array): void
  readonly disk: Buffer
}

/** The request that the layer above is working on, while it calls the layer below. */
let current: Asked | undefined

function as<T>(asked: Asked, call: () => T): T {
  const before = current
  current = asked
  try {
    return call()
  } finally {
    current = before
  }
}

/** Calls `work` for the request that is meant, and notes when it begins and ends. */
function watched<T>(
  watch: Watch,
  client: Client,
  operation: string,
  offset: number,
  length: number,
  work: (asked: Asked) => MaybePromise<T>,
): MaybePromise<T> {
  const outermost = current === undefined
  const asked = current ?? watch.entered(client, operation, offset, length)
  const settle = (outcome: number) => {
    client.running--
    if (!outermost) return
    client.inFlight--
    asked.outcome = outcome
    watch.settled(client, asked)
  }
  client.running++
  if (outermost) client.inFlight++
  const failed = (error: unknown): never => {
    settle(error instanceof NbdError && error.code === 'ENOSPC' ? NBD_ENOSPC : NBD_EIO)
    throw error
  }
  try {
    const result = work(asked)
    if (isPromise(result))
      return result.then((value) => {
        settle(0)
        return value
      }, failed)
    settle(0)
    return result
  } catch (error) {
    return failed(error)
  }
}

function fail(fails: Manner['fails']): void {
  if (fails === 'ENOSPC') throw new NbdError('ENOSPC', 'the plan says so')
  if (fails === 'crash') throw new TypeError('the plan says so')
}

const noManner: Manner = { waits: 'not', first: true, early: false, fails: 'not', asks: 'nothing' }

/** `answer` as a manner has it: with a wait, a request to the server or an error around it. */
function mannered<T>(
  watch: Watch,
  server: ServerContext,
  client: Client,
  asked: Asked,
  layer: number,
  answer: () => MaybePromise<T>,
): MaybePromise<T> {
  const { waits, first, early, fails, asks } = asked.plan.manners[layer] ?? noManner
  if (waits === 'not') {
    watch.asks(client, asks, server)
    fail(fails)
    return answer()
  }
  const wait = () =>
    waits === 'briefly' ? Promise.resolve() : watch.hold(client, `layer ${layer}, ${describe(asked)}`)
  const then = async () => {
    if (first) await wait()
    watch.asks(client, asks, server)
    fail(fails)
    const answered = await answer()
    if (!first) await wait()
    return answered
  }
  if (!early) return then()
  return (async () => {
    Promise.resolve(answer()).catch(() => {})
    await wait()
    throw new TypeError('too early')
  })()
}

/** @param windowed It lends memory for writes, trims and zeroes. */
export function modelDisk(
  watch: Watch,
  layer: number,
  concurrency: Concurrency,
  windowed: boolean,
): Layer<'plugin'> {
  const act = <T>(
    server: ServerContext,
    client: Client,
    operation: string,
    offset: number,
    length: number,
    answer: (asked: Asked) => MaybePromise<T>,
  ) =>
    watched(watch, client, operation, offset, length, (asked) =>
      mannered(watch, server, client, asked, layer, () => answer(asked)),
    )

  const device = (client: Client, server: ServerContext): DeviceInit => ({
    size: diskBytes,
    read: (offset, length, alloc) => {
      const fill = (asked: Asked): Data => {
        const view = watch.disk.subarray(offset, offset + length)
        if (!asked.plan.keeps && length <= 16 * 1024) return view
        const copy = alloc(length)
        copy.set(view)
        asked.expected = Buffer.from(view)
        return copy
      }
      return act(server, client, 'read', offset, length, fill)
    },
    write(offset, data) {
      const { length } = data
      // Not before it is known which request this is.
      return watched(watch, client, 'write', offset, length, (asked) => {
        if (asked.plan.keeps) watch.written(client, asked, data)
        return mannered(watch, server, client, asked, layer, () => {
          if (!asked.plan.keeps) watch.written(client, asked, data)
        })
      })
    },
    flush: () => act(server, client, 'flush', 0, 0, () => {}),
    ...(windowed && clearing(client, server)),
    close: () => closing(watch, client, layer),
  })

  const clearing = (client: Client, server: ServerContext): Partial<DeviceInit> => {
    const clear = (operation: string) => (offset: number, length: number) =>
      act(server, client, operation, offset, length, (asked) =>
        watch.written(client, asked, Buffer.alloc(length)),
      )
    return {
      zero: clear('zero'),
      trim: clear('trim'),
      window: (offset, length) => watch.lends(client, offset, length),
      release: (window) => watch.released(client, window),
    }
  }

  return definePlugin({
    name: 'disk',
    description: '',
    params: {},
    setup: (_values, server) => ({
      concurrency,
      accept: (_connection: Connection) => watch.moment(undefined, 'accept', false),
      async open(request) {
        const client = watch.clientOf(request.exportName)
        await watch.moment(client, 'open of the disk', true)
        watch.opened(client, layer)
        return device(client, server)
      },
      close: () => ending(watch, layer),
    }),
  })()
}

/** Of a filter, for the whole run. */
export interface FilterManners {
  /** False: requests go past it, and only its open and close are called. */
  readonly overrides: boolean
  /** It closes the next layer itself, and the server must not do it again. */
  readonly closesNext: boolean
  /** It lends on what the next layer lends. */
  readonly lends: boolean
}

export function modelFilter(watch: Watch, layer: number, manners: FilterManners): Layer<'filter'> {
  const { overrides, closesNext, lends } = manners
  const over = (client: Client, server: ServerContext, next: Device): DeviceInit => {
    const act = <T>(operation: string, offset: number, length: number, inner: () => MaybePromise<T>) =>
      watched(watch, client, operation, offset, length, (asked) =>
        mannered(watch, server, client, asked, layer, () => as(asked, inner)),
      )
    return {
      ...next,
      read: (offset, length, alloc) => act('read', offset, length, () => next.read(offset, length, alloc)),
      write: (offset, data, flags) =>
        act('write', offset, data.length, () => {
          // Who answers early may not lend on what is lent to it.
          const early = current?.plan.manners[layer]?.early
          return next.write(offset, early ? Buffer.from(data) : data, flags)
        }),
      zero: (offset, length, flags) => act('zero', offset, length, () => next.zero(offset, length, flags)),
      trim: (offset, length, flags) => act('trim', offset, length, () => next.trim(offset, length, flags)),
      ...(lends && { window: (offset: number, length: number) => next.window(offset, length) }),
      flush: () => act('flush', 0, 0, () => next.flush()),
      close: () => closing(watch, client, layer, closesNext ? next : undefined),
    }
  }
  return defineFilter({
    name: `filter ${layer}`,
    description: '',
    params: {},
    setup: (_values, server) => ({
      async open(request: OpenRequest, next) {
        const client = watch.clientOf(request.exportName)
        const device = await next(request)
        await watch.moment(client, `open of filter ${layer}`, true)
        watch.opened(client, layer)
        if (overrides) return over(client, server, device)
        return { ...device, close: () => closing(watch, client, layer, closesNext ? device : undefined) }
      },
      close: () => ending(watch, layer),
    }),
  })()
}

async function closing(watch: Watch, client: Client, layer: number, next?: Device): Promise<void> {
  watch.closing(client, layer)
  try {
    await watch.moment(client, `close of layer ${layer}`, true)
    await next?.close()
  } finally {
    watch.closed(client, layer)
  }
}

async function ending(watch: Watch, layer: number): Promise<void> {
  watch.layerClosing(layer)
  await watch.moment(undefined, `end of layer ${layer}`, false)
  watch.layerClosed(layer)
}

/** True where the bytes of a write are those that were sent. */
export function isIntact(asked: Asked, data: Uint8Array): boolean {
  return payloadOf(asked).equals(data)
}
