/** The addresses to listen on: from the options, or from sockets that systemd opened for us. */
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { ConfigError, messageOf } from '../../api/errors.js'
import type { ListenTarget } from '../../api/server.js'
import { temporaryDirectory } from '../../os/temporary-directory.js'
import type { Settings } from '../options/settings.js'

const defaultPort = 10809

/** The first inherited file descriptor (sd_listen_fds(3)). */
const firstInherited = 3

/**
 * Returns no address for `-s`. @throws ConfigError where options conflict with inherited sockets, or a name
 * has no address.
 */
export async function placesToListen(settings: Settings): Promise<readonly ListenTarget[]> {
  const inherited = takeInheritedSockets()
  if (inherited.length > 0) {
    refuseWithInherited(settings)
    return inherited
  }
  const { unix, port, addresses, family, run, stdio } = settings
  if (stdio) return []
  const choosesTcp = port !== undefined || addresses.length > 0 || family !== undefined
  const isPrivate = unix === '-' || (unix === undefined && !choosesTcp && run !== undefined)
  if (isPrivate) return [{ path: join(temporaryDirectory('nbdkit-ts-').path, 'socket') }]
  if (unix !== undefined) return [{ path: unix }]
  return tcpPlaces(settings, port ?? defaultPort)
}

async function tcpPlaces({ addresses, family }: Settings, port: number): Promise<ListenTarget[]> {
  if (addresses.length === 0) {
    if (family === undefined) return [{ port }]
    return family === 4 ? [{ port, host: '0.0.0.0' }] : [{ port, host: '::', ipv6Only: true }]
  }
  /** The user's name for each host. */
  const names = new Map<string, string>()
  for (const name of addresses)
    for (const host of await resolveHost(name, family)) if (!names.has(host)) names.set(host, name)
  // An IPv6 address means IPv6 only, also for `::`.
  return [...names].map(([host, name]) => ({
    port,
    host,
    name,
    ...(host.includes(':') ? { ipv6Only: true } : {}),
  }))
}

/** All addresses of a name, as in nbdkit. */
async function resolveHost(address: string, family: 4 | 6 | undefined): Promise<readonly string[]> {
  const numeric = isIP(address.replace(/%.*$/, ''))
  if (numeric !== 0) {
    if (family === undefined || family === numeric) return [address]
    throw new ConfigError(`-i: ${address} is an IPv${numeric} address, which -${family} excludes`)
  }
  const found = await process
    .getBuiltinModule('node:dns/promises')
    .lookup(address, { all: true, family: family ?? 0 })
    .catch((error: unknown) => {
      const kind = family === undefined ? '' : `IPv${family} `
      throw new ConfigError(`-i: no ${kind}address of "${address}" is found: ${messageOf(error)}`, {
        cause: error,
      })
    })
  // localhost may have an IPv6 address even where IPv6 is off.
  const usable = hasIpv6() ? found : found.filter((one) => one.family === 4)
  return (usable.length > 0 ? usable : found).map((one) => one.address)
}

function hasIpv6(): boolean {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  return addresses.some(({ family }) => family === 'IPv6')
}

/** True where another process opened sockets for this process. */
export function socketsAreInherited(): boolean {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = process.env
  return count !== undefined && pid === String(process.pid)
}

/** Removes the variables, so that no process of a plugin takes them for its own. */
function takeInheritedSockets(): ListenTarget[] {
  if (!socketsAreInherited()) return []
  const count = process.env.LISTEN_FDS ?? ''
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete process.env[name]
  if (!/^[1-9]\d{0,3}$/.test(count))
    throw new ConfigError(`LISTEN_FDS: "${count}" is not a number of sockets`)
  return Array.from({ length: Number(count) }, (_, index) => ({ fd: firstInherited + index }))
}

function refuseWithInherited(settings: Settings): void {
  const { addresses, port, run, stdio, unix } = settings
  const given = Object.entries({
    '-i': addresses[0],
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
