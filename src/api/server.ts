import type { Duplex } from 'node:stream'
import type { Connection } from './connection.js'
import type { Log } from './log.js'
import type { Layer } from './plugin.js'

/** States of a server, in the order they are reached (docs/lifecycle.md). */
export type ServerState = 'created' | 'configured' | 'ready' | 'serving' | 'draining' | 'stopped'

/**
 * An address to listen on. A port of 0 takes a free one. `ipv6Only` keeps IPv4 off a host of `::`. A `path`
 * is a Unix socket that must not exist yet.
 */
export type ListenTarget =
  | {
      readonly port: number
      readonly host?: string
      readonly ipv6Only?: boolean
      /** The host name in `uri`. Defaults to the host. */
      readonly name?: string
    }
  | { readonly path: string }
  | { readonly fd: number }

export interface ServerOptions {
  readonly plugin: Layer<'plugin'>
  /** Outermost first: the first filter sees a client's request before the others. */
  readonly filters?: readonly Layer<'filter'>[]
  /** Serve every export read-only. */
  readonly readOnly?: boolean
  /** Used in `uri` only: clients choose the export. */
  readonly exportName?: string
  /** The most requests in flight on each connection. Defaults to 64. */
  readonly threads?: number
  /** Drops a client that has not reached an export after this time, in ms. 0, the default, means no limit. */
  readonly handshakeTimeoutMs?: number
  /** Speak the oldstyle handshake (NBD spec, "Oldstyle negotiation"): one export, nothing negotiated. */
  readonly oldstyle?: boolean
  /** Handshake flags that may be sent, as bits. Defaults to all. */
  readonly maskHandshake?: number
  /** False: refuse structured replies and extended headers, as a server that does not know them. */
  readonly structuredReplies?: boolean
  /** False: refuse metadata contexts likewise. */
  readonly metaContexts?: boolean
  /**
   * Ask the system to probe idle TCP clients, so that vanished clients are noticed (tcp(7), `SO_KEEPALIVE`).
   */
  readonly keepAlive?: boolean
  /**
   * How long the event loop stays awake after a reply, in case the next request comes at once, in
   * microseconds. Defaults to 50 on several processors. 0 lets the loop sleep; the maximum is 1000. The loop
   * tries less often where staying awake does not help.
   */
  readonly busyPollUs?: number
  /** How long a shutdown waits for clients before it drops them, in ms. Defaults to 30,000. */
  readonly graceMs?: number
  /** False: standard input and output are a client's connection, and no layer may use them. */
  readonly stdioSafe?: boolean
  /** For layers that know debug flags (nbdkit(1), `-D`): `PLUGIN.FLAG=VALUE`. */
  readonly debugFlags?: readonly string[]
  /** Defaults to a log that discards everything. */
  readonly log?: Log
  /** For a server that is one of several threads: the results of `share` of each layer, the plugin's last. */
  readonly shared?: readonly unknown[]
}

/** A server of one chain of layers. Servers in one process share nothing. */
export interface Server extends AsyncDisposable {
  readonly state: ServerState
  readonly connections: ReadonlySet<Connection>
  /** The URI for clients (NBD URI specification). Undefined unless the server listens. */
  readonly uri: string | undefined
  /** The addresses listened on, with the actual TCP ports and Unix sockets. */
  readonly addresses: readonly ListenTarget[]
  /** Resolves when a shutdown begins, started by the program or a layer. */
  readonly stopping: Promise<void>
  /**
   * Resolves when the server has stopped and every layer is closed. Rejects with {@link StuckError} when a
   * callback has not settled long after it was told to stop.
   */
  readonly stopped: Promise<void>
  /** Sets up the layers. `listen` and `serve` also do so. Rejects with ConfigError when a layer refuses. */
  ready(): Promise<void>
  /** Resolves when clients can connect. May be called several times, for several addresses. */
  listen(target: ListenTarget): Promise<void>
  /**
   * Serves one client on any stream: standard input and output, one end of a socket pair, a test. Also serves
   * the file descriptor of a connected socket, and then owns it. Rejects with ConfigError where the
   * descriptor is no such socket.
   */
  serve(client: Duplex | { readonly fd: number }): Promise<Connection>
  /**
   * Stops the server: it takes no new clients, requests in flight finish and are answered, and later requests
   * get ESHUTDOWN. After `graceMs` the remaining clients are dropped. Of several calls, the shortest grace
   * holds. Settles as `stopped` does. A layer must not await this, but use its own `server.shutdown()`.
   */
  shutdown(options?: { readonly graceMs?: number }): Promise<void>
}

/**
 * A callback of a layer has not settled, long after its connection was dropped. Its `code` is `NBD_STUCK`.
 */
export class StuckError extends Error {
  override readonly name = 'StuckError'
  readonly code = 'NBD_STUCK'
}
