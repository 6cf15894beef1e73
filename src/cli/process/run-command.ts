/** The command of `--run`: the server runs as long as the command (nbdkit-captive(1)). */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { spawn } from '../../os/spawn.js'
import type { Settings } from '../options/settings.js'
import { complain } from '../output/output.js'
import type { ServedThreads } from '../serve/workers.js'

export interface Captive {
  /** Our exit status: that of the command, or 128 plus the number of the signal that killed it. */
  readonly status: Promise<number>
  kill(signal: NodeJS.Signals): void
}

/**
 * Starts the command under the shell, with variables that say where to connect. `status` rejects without a
 * shell.
 *
 * @throws Error when the system does not accept the command.
 */
export function startCaptive(command: string, server: ServedThreads, settings: Settings): Captive {
  const child = spawn('/bin/sh', ['-c', `${variables(server, settings)}\n${command}`], {
    argv0: 'sh',
    stdio: 'inherit',
  })
  return { status: ending(child), kill: (signal) => void child.kill(signal) }
}

async function ending(child: ChildProcess): Promise<number> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  if (signal === null) return code ?? 0
  complain(`the command given with --run was killed by ${signal}`)
  return 128 + constants.signals[signal]
}

/** Shell variables and not environment variables: programs that the command starts do not inherit them. */
function variables(server: ServedThreads, { exportName, name }: Settings): string {
  const [place] = server.addresses
  const uri = server.uri ?? ''
  return Object.entries({
    uri,
    nbd: uri,
    exportname: exportName,
    name,
    port: place && 'port' in place ? String(place.port) : '',
    unixsocket: place && 'path' in place ? place.path : '',
  })
    .map(([name, value]) => `${name}=${quote(value)}`)
    .join('\n')
}

/** Quotes for a shell: within single quotes only a single quote is special. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
