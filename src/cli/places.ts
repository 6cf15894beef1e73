/** Where clients come from: what the options say, or what systemd has opened for us. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '../api/errors.js'
import type { ListenTarget } from '../api/server.js'
import type { Settings } from './options.js'

const defaultPort = 10809

/** The first file descriptor that is passed (sd_listen_fds(3)). */
const firstInherited = 3

/** None for `-s`. @throws ConfigError where options do not go with what was inherited. */
export function placesToListen(settings: Settings): readonly ListenTarget[] {
  const inherited = inheritedSockets()
  if (inherited.length > 0) {
    refuseWithInherited(settings)
    return inherited
  }
  const { unix, port, address, run, stdio } = settings
  if (stdio) return []
  const isPrivate = unix === '-' || ((unix ?? port ?? address) === undefined && run !== undefined)
  if (isPrivate) return [{ path: join(privateDirectory(), 'socket') }]
  if (unix !== undefined) return [{ path: unix }]
  return [{ port: port ?? defaultPort, ...(address === undefined ? {} : { host: address }) }]
}

/** The variables are taken away, so that no process of a plugin believes that they are meant for it. */
function inheritedSockets(): ListenTarget[] {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = process.env
  if (count === undefined || pid !== String(process.pid)) return []
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete process.env[name]
  if (!/^[1-9]\d{0,3}$/.test(count))
    throw new ConfigError(`LISTEN_FDS: "${count}" is not a number of sockets`)
  return Array.from({ length: Number(count) }, (_, index) => ({ fd: firstInherited + index }))
}

function refuseWithInherited(settings: Settings): void {
  const { address, port, run, stdio, unix } = settings
  const given = Object.entries({
    '-i': address,
    '-p': port,
    '--run': run,
    '-s': stdio || undefined,
    '-U': unix,
  })
    .filter(([, value]) => value !== undefined)
    .map(([option]) => option)
  if (given.length > 0)
    throw new ConfigError(`${given.join(', ')} cannot be used where sockets are inherited (LISTEN_FDS)`)
}

/** Only we may look into it, and nothing of it is left behind, however the process ends. */
function privateDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'nbdkit-ts-'))
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  return directory
}
