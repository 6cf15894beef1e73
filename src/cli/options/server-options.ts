/** Turns settings into the options of a server. */
import type { Log } from '../../api/log.js'
import type { ServerOptions } from '../../api/server.js'
import type { Settings } from './settings.js'

export function serverOptions(settings: Settings, log: Log): Omit<ServerOptions, 'plugin'> {
  const { exportName, readOnly, threads, oldstyle, maskHandshake, busyPollUs } = settings
  const { handshakeTimeoutMs, graceMs, structuredReplies, metaContexts, keepAlive, debugFlags } = settings
  return {
    ...{ log, exportName, readOnly, oldstyle, handshakeTimeoutMs, graceMs, structuredReplies, metaContexts },
    ...{ keepAlive, debugFlags, stdioSafe: !settings.stdio },
    ...(threads === 0 ? {} : { threads }),
    ...(maskHandshake === undefined ? {} : { maskHandshake }),
    ...(busyPollUs === undefined ? {} : { busyPollUs }),
  }
}
