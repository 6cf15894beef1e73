import type { Duplex } from 'node:stream'
import type { Connection } from './connection.js'
import type { Log } from './log.js'
import type { Layer } from './plugin.js'

/** States of a server, in the order they are reached (docs/lifecycle.md). */
export type ServerState = 'created' | 'configured' | 'ready' | 'serving' | 'draining' | 'stopped'

/**
 * Where clients come from. A port of 0 takes a free one; `ipv6Only` keeps IPv4 off a host of `::`. A `path`
 * is a Unix socket that must not exist yet.
 */
export type ListenTarget =
  | {
      readonly port: number
      readonly host?: string
      readonly ipv6Only?: boolean
      /** What `uri` calls the host; the host itself unless given. */
      readonly name?: string
    }
  | { readonly path: string }
  | { readonly fd: number }

export interface ServerOptions {
  readonly plugin: Layer<'plugin'>
  /** Outermost first: the first meets a client's request before the others. */
  readonly filters?: readonly Layer<'filter'>[]
  /** Serve every export read-only. */
  readonly readOnly?: boolean
  /** Named in `uri`, and nowhere else: clients choose the export. */
  readonly exportName?: string
  /** Requests in flight on each connection, at most: 16 unless given. */
  readonly threads?: number
  /** A client that has not reached an export after this time is dropped. 0, the default: no limit. */
  readonly handshakeTimeoutMs?: number
  /** Speak the oldstyle handshake (NBD spec, "Oldstyle negotiation"): one export, nothing negotiated. */
  readonly oldstyle?: boolean
  /** Handshake flags that may be sent, as bits; all unless given. */
  readonly maskHandshake?: number
  /** False: answer structured replies and extended headers as a server that has not heard of them. */
  readonly structuredReplies?: boolean
  /** False: the same for metadata contexts. */
  readonly metaContexts?: boolean
  /**
   * Ask the system to probe idle TCP clients, so that those that are gone are noticed (tcp(7),
   * `SO_KEEPALIVE`).
   */
  readonly keepAlive?: boolean
  /**
   * How long the event loop stays awake after an answer, in case the next request comes at once: 50 us unless
   * given, where there are several processors; 0: it sleeps. At most 1000. It tries less often where that is
   * in vain.
   */
  readonly busyPollUs?: number
  /** How long a shutdown waits for clients before it drops them: 30,000 ms unless given. */
  readonly graceMs?: number
  /** False: standard input and output are a client's connection, and no layer may use them. */
  readonly stdioSafe?: boolean
  /** For layers that know debug flags (nbdkit(1), `-D`): `PLUGIN.FLAG=VALUE`. */
  readonly debugFlags?: readonly string[]
  /** Says nothing unless given. */
  readonly log?: Log
  /** For a server that is one of several threads: what `share` of each layer returned, the plugin's last. */
  readonly shared?: readonly unknown[]
}

/** A server of one chain of layers. Several may run in one process: they share nothing. */
export interface Server extends AsyncDisposable {
  readonly state: ServerState
  readonly connections: ReadonlySet<Connection>
  /** For a client to connect to (the NBD URI specification); undefined unless it listens. */
  readonly uri: string | undefined
  /** Where it listens: the TCP port or Unix socket that was really taken. */
  readonly addresses: readonly ListenTarget[]
  /** Resolves when a shutdown begins: the program has asked for it, or a layer. */
  readonly stopping: Promise<void>
  /**
   * Resolves when the server has stopped and every layer is closed. Rejects with {@link StuckError} when a
   * callback did not settle, long after it was told to.
   */
  readonly stopped: Promise<void>
  /** Sets the layers up. `listen` and `serve` do it too. Rejects with ConfigError when a layer refuses. */
  ready(): Promise<void>
  /** Resolves when clients can connect. May be called several times, for several addresses. */
  listen(target: ListenTarget): Promise<void>
  /**
   * Serves one client on any stream: standard input and output, one end of a pair of sockets, a test. Or on
   * the file descriptor of a connected socket, which it takes over. Rejects with ConfigError where that is
   * none.
   */
  serve(client: Duplex | { readonly fd: number }): Promise<Connection>
  /**
   * Stops: no new clients; requests in flight end and are answered, later ones get ESHUTDOWN. After `graceMs`
   * the rest is dropped. Called again with a shorter grace, the shorter one holds. Resolves as `stopped`
   * does: a layer must not await it, but use its own `server.shutdown()`.
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
