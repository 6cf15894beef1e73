/** The command of `--run`: we serve for as long as it runs (nbdkit-captive(1)). */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { spawn } from '../lib/spawn.js'
import { complain } from './output.js'
import type { Settings } from './settings.js'
import type { Served } from './workers.js'

export interface Captive {
  /** Becomes ours: what the command ended with, or 128 and the number of the signal that killed it. */
  readonly status: Promise<number>
  kill(signal: NodeJS.Signals): void
}

/**
 * Starts it under the shell, with variables that say where to connect. `status` rejects without a shell.
 *
 * @throws Error when the system does not take the command.
 */
export function startCaptive(command: string, server: Served, settings: Settings): Captive {
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

/** Of the shell, and not of the environment: what the command starts does not inherit them. */
function variables(server: Served, { exportName, name }: Settings): string {
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

/** For a shell: nothing is special within single quotes but a single quote. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
