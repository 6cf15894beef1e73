/** States of a connection, in the order they are reached (docs/lifecycle.md). */
export type ConnectionState = 'greeting' | 'options' | 'upgrading' | 'transmission' | 'draining' | 'closed'

/**
 * Who is at the other end. `pid`, `uid` and `gid` are those of a Unix socket's peer, where the system tells
 * them.
 */
export interface Peer {
  readonly family: 'unix' | 'tcp' | 'stream'
  readonly address?: string
  readonly port?: number
  readonly pid?: number
  readonly uid?: number
  readonly gid?: number
}

/** One client, as a plugin, a filter or an embedding program sees it. */
export interface Connection {
  /**
   * 1 for the server's first client, then counting. 0: a layer opened the device itself, without a client.
   */
  readonly id: number
  readonly peer: Peer
  readonly state: ConnectionState
  /** Fires when the connection is dropped by force: what still runs may stop, its result is thrown away. */
  readonly signal: AbortSignal
  /** Resolves when the client is gone, and every device that it opened is closed. */
  readonly closed: Promise<void>
  /** The name the client asked for, as it sent it; empty until then. */
  readonly exportName: string
  readonly readOnly: boolean
  /** True when the connection is encrypted. */
  readonly tls: boolean
  /**
   * Drops this client, and no other (nbdkit_disconnect(3)). Returns at once, never throws, may be called
   * twice.
   *
   * `force` false: each later request fails with ESHUTDOWN and reaches no layer; those in flight end and are
   * answered. The connection then closes when the client disconnects, or `lingerMs` after the last reply
   * where that is given.
   * `force` true: the socket is destroyed now, and nothing more is answered.
   * It does nothing before `open` has returned and after `close`: to refuse a client there, throw.
   */
  disconnect(force: boolean, options?: { readonly lingerMs?: number }): void
}
