/** What all connections of a server share. */
import type { Duplex } from 'node:stream'
import type { Peer } from '../api/connection.js'
import type { Log } from '../api/log.js'
import type { Link } from '../chain/open.js'
import type { BusyPoll } from '../net/busy-poll.js'
import type { BufferPool } from './buffer-pool.js'
import type { Gate } from './concurrency.js'
import type { ListBudget } from './export-list.js'
import type { HandshakeSettings } from './handshake.js'
import type { Untaken } from './handshake-stream.js'
import type { HandshakeTurns } from './handshake-turns.js'
import type { HangUpWatch } from './hang-up-watch.js'
import type { MemoryBudget } from './memory-budget.js'

export interface ServerResources {
  readonly links: readonly Link[]
  readonly readOnly: boolean
  readonly settings: HandshakeSettings & { readonly handshakeTimeoutMs: number }
  readonly pool: BufferPool
  readonly busyPoll: BusyPoll
  readonly budget: MemoryBudget
  readonly hangUps: HangUpWatch
  /** For the handshakes. */
  readonly lists: ListBudget
  readonly untaken: Untaken
  readonly turns: HandshakeTurns
  /** Makes a stream take more at once, where possible. */
  widen(stream: Duplex): void
  readonly log: Log
  /** Returns the gate of one connection: its own, or one for all, depending on the layers' concurrency. */
  gate(): Gate
  /** Bytes of requests in flight on one connection, where there are more than 16 of them. */
  readonly waitingBytesMax: number
}

/** Returns the peer at the other end of a stream. */
export type PeerOf = (stream: Duplex) => Peer
