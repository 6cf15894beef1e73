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

export interface DisconnectOptions {
  /** Soft alone: the connection closes after so long a quiet behind the last reply. */
  readonly lingerMs?: number
  /** Soft alone: what is left of the connection after this time is dropped by force. */
  readonly deadlineMs?: number
  /** Also before a device is open, and while one is being opened: else it does nothing there. */
  readonly inHandshake?: boolean
}

/** What `JSON.stringify` makes of a connection. */
export interface ConnectionInfo {
  readonly id: number
  readonly peer: Peer
  readonly state: ConnectionState
  readonly exportName: string
  readonly readOnly: boolean
  readonly tls: boolean
  /** When the client connected, as ISO 8601 says. */
  readonly since: string
  readonly requests: number
  readonly bytesRead: number
  readonly bytesWritten: number
}

/** One client, as a plugin, a filter or an embedding program sees it. */
export interface Connection {
  /**
   * 1 for the server's first client, then counting. 0: a layer opened the device itself, without a client.
   */
  readonly id: number
  readonly peer: Peer
  readonly state: ConnectionState
  /**
   * Fires when nothing needs to wait for this client any more: what sleeps may wake. Where `state` is
   * `closed` then, the client was dropped, and the results of what still runs are thrown away. In any other
   * state the client has ended its side without a goodbye: it may have vanished, or may still read its
   * replies.
   */
  readonly signal: AbortSignal
  /** When the client connected. */
  readonly since: Date
  /** Requests that a layer has answered, and the bytes that they read and wrote. */
  readonly requests: number
  readonly bytesRead: number
  readonly bytesWritten: number
  /** Resolves when every device that the client opened is closed, and its stream is gone. */
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
   * where that is given, and `deadlineMs` from now at the latest. Called again, the earlier of two times
   * holds. `force` true: the socket is destroyed now, and nothing more is answered.
   * It does nothing before `open` has returned and after `close`: to refuse a client there, throw.
   *
   * @returns whether it took effect.
   */
  disconnect(force: boolean, options?: DisconnectOptions): boolean
  toJSON(): ConnectionInfo
}
