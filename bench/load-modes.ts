/** The modes of the load client: requests, repeated connections, and idle connections. */
import { NBD_CMD_READ } from '../src/protocol/constants.js'
import { encodeRequest } from '../src/testing/raw-client.js'
import { LoadClient, type RequestSettings } from './load-client.js'
import { Tally } from './load-tally.js'
import { type Target, Wire } from './load-wire.js'

export interface Times {
  readonly connections: number
  readonly warmUpMs: number
  readonly lengthMs: number
}

export interface LoadResult {
  /** All work done, including the warm-up. */
  readonly requests: number
  readonly seconds: number
  /** After the warm-up. */
  readonly perSecond: number
}

/** Enough for a handshake. */
const received = Buffer.allocUnsafe(4096)

/** Sends requests on some connections until the time or the count is over and everything is answered. */
export async function loadRequests(
  target: Target,
  settings: RequestSettings,
  { connections, warmUpMs, lengthMs }: Times,
): Promise<LoadResult> {
  const tally = new Tally(warmUpMs, lengthMs)
  const clients = Array.from(
    { length: connections },
    (_, index) => new LoadClient(target, settings, tally, index),
  )
  await Promise.all(clients.map((client) => client.open()))
  tally.start()
  await Promise.all(clients.map((client) => client.run()))
  return resultOf(tally)
}

/** Connects, opens the export and disconnects repeatedly, as several clients at once. */
export async function loadConnections(target: Target, { connections, ...times }: Times): Promise<LoadResult> {
  const tally = new Tally(times.warmUpMs, times.lengthMs)
  tally.start()
  const client = async () => {
    while (!tally.isOver) {
      const wire = new Wire(target, received)
      await wire.open({ structured: false, receive: refuse })
      wire.disconnect()
      await wire.closed
      tally.done++
      tally.look()
    }
  }
  await Promise.all(Array.from({ length: connections }, client))
  return resultOf(tally)
}

/**
 * Opens the export on several connections and keeps them idle. With `reads`, each connection requests that
 * many blocks and takes no reply.
 */
export async function holdConnections(
  target: Target,
  settings: { readonly connections: number; readonly reads: number; readonly blockBytes: number },
): Promise<Wire[]> {
  const { connections, reads, blockBytes } = settings
  const wires: Wire[] = []
  // One after the other: the backlog of a listening socket is short.
  while (wires.length < connections) {
    const wire = new Wire(target, received)
    await wire.open({ structured: false, receive: reads > 0 ? () => {} : refuse })
    if (reads > 0) wire.socket.pause()
    for (let cookie = 0; cookie < reads; cookie++)
      wire.socket.write(encodeRequest({ type: NBD_CMD_READ, cookie, length: blockBytes }))
    wires.push(wire)
  }
  return wires
}

function refuse(length: number): void {
  throw new Error(`${length} bytes came that nobody asked for`)
}

function resultOf(tally: Tally): LoadResult {
  const { counted, seconds } = tally.result()
  if (counted === 0) throw new Error('nothing was answered after the warm-up')
  return { requests: tally.done, seconds, perSecond: counted / seconds }
}
