/** States of a connection, in the order they are reached (docs/lifecycle.md). */
export type ConnectionState = 'greeting' | 'options' | 'upgrading' | 'transmission' | 'draining' | 'closed'

/**
 * The other end of a connection. `pid`, `uid` and `gid` are those of a Unix socket's peer, where the system
 * reports them.
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
  /**
   * For a soft disconnect: closes the connection after this long a quiet period behind the last reply, in ms.
   */
  readonly lingerMs?: number
  /** For a soft disconnect: drops the connection if it still exists after this time, in ms. */
  readonly deadlineMs?: number
  /**
   * Disconnect also before a device is open and while one is being opened. Without this, `disconnect` does
   * nothing there.
   */
  readonly inHandshake?: boolean
}

/** The result of `JSON.stringify` for a connection. */
export interface ConnectionInfo {
  readonly id: number
  readonly peer: Peer
  readonly state: ConnectionState
  readonly exportName: string
  readonly readOnly: boolean
  readonly tls: boolean
  /** When the client connected, in ISO 8601. */
  readonly since: string
  readonly requests: number
  readonly bytesRead: number
  readonly bytesWritten: number
}

/** One client, as seen by a plugin, a filter or an embedding program. */
export interface Connection {
  /**
   * 1 for the server's first client, then counting up. 0 where a layer opened the device itself, without a
   * client.
   */
  readonly id: number
  readonly peer: Peer
  readonly state: ConnectionState
  /**
   * Fires when nothing needs to wait for this client any more, so that sleeping callbacks can wake up. If
   * `state` is then `closed`, the client was dropped, and the results of running callbacks are discarded. In
   * any other state the client has ended its side without a goodbye: it may have vanished, or may still read
   * its replies.
   */
  readonly signal: AbortSignal
  /** When the client connected. */
  readonly since: Date
  /** Requests that a layer has answered, and the bytes they read and wrote. */
  readonly requests: number
  readonly bytesRead: number
  readonly bytesWritten: number
  /** Resolves when every device that the client opened is closed and its stream is gone. */
  readonly closed: Promise<void>
  /** The export name as the client sent it; empty before that. */
  readonly exportName: string
  readonly readOnly: boolean
  /** True when the connection is encrypted. */
  readonly tls: boolean
  /**
   * Drops this client and no other (nbdkit_disconnect(3)). Returns at once, never throws, and may be called
   * twice.
   *
   * With `force` false, each later request fails with ESHUTDOWN and reaches no layer; requests in flight
   * finish and are answered. The connection closes when the client disconnects, or `lingerMs` after the last
   * reply if given, and at the latest `deadlineMs` from now. Of several calls, the earlier time holds. With
   * `force` true, the socket is destroyed now and nothing more is answered. The call does nothing before
   * `open` has returned and after `close`: to refuse a client in `open`, throw.
   *
   * @returns whether it took effect.
   */
  disconnect(force: boolean, options?: DisconnectOptions): boolean
  toJSON(): ConnectionInfo
}
