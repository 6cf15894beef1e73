/**
 * Moves the server into the background. Node has no fork, so a detached copy of the program does all the
 * work, with the descriptors that were open here. It reports through a pipe when clients can connect. Until
 * then it shares our standard output and error, so that the user sees why it failed.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import type { Duplex, Readable } from 'node:stream'
import { inheritedDescriptors } from '../../api/inherited.js'
import { spawn } from '../../os/spawn.js'
import type { ParsedLine } from '../options/parse-options.js'
import { rawArguments } from '../options/raw-arguments.js'
import { complain } from '../output/output.js'
import { readyVariable } from './launcher.js'

/**
 * Starts the copy, and waits until it is ready or has failed.
 *
 * @returns the exit status: 0, or the exit status of the copy.
 */
export async function startInBackground(commandLine: ParsedLine): Promise<number> {
  for (let tries = 1; ; tries++) {
    try {
      const { child, ready } = startCopy(commandLine)
      return await outcome(child, ready)
    } catch (error) {
      // Other threads of Node open files of their own meanwhile. One of those was in the list, and is closed
      // by now.
      if (tries === triesMax || (error as NodeJS.ErrnoException).code !== 'EBADF') throw error
    }
  }
}

/** Far more than needed: the conflict is over within microseconds. */
const triesMax = 10

/**
 * The copy gets the same words, which show its user what it is. It acts on the command line that it receives.
 */
function startCopy(commandLine: ParsedLine): { readonly child: ChildProcess; readonly ready: Readable } {
  const inherited = inheritedDescriptors()
  const readyFd = Math.max(...inherited) + 1
  const stdio = Array.from({ length: readyFd }, (_, fd) => (inherited.includes(fd) ? fd : 'ignore'))
  const [, script = '', ...words] = process.argv
  const child = spawn(process.execPath, [...process.execArgv, script, ...rawArguments(words)], {
    detached: true,
    env: { ...process.env, [readyVariable]: String(readyFd) },
    stdio: [...stdio, 'pipe'],
  })
  const ready = child.stdio[readyFd] as Duplex
  // The exit of the copy shows that it has ended.
  ready.on('error', () => {}).write(`${JSON.stringify(commandLine)}\n`)
  return { child, ready }
}

/**
 * Waits for the copy. It is in its own session, so signals from a terminal are passed on. Where two signals
 * have no effect, as while it waits for a password, the third kills it.
 */
async function outcome(child: ChildProcess, ready: Readable): Promise<number> {
  const asked: NodeJS.Signals[] = []
  // By default this signal would end us and leave the copy alone.
  process.removeAllListeners('SIGUSR1')
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP', 'SIGUSR1'] as const)
    process.on(signal, () => {
      asked.push(signal)
      child.kill(asked.length < 3 ? signal : 'SIGKILL')
    })
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  const isReady = () => (asked.length === 0 ? undefined : ended)
  const answered = once(ready, 'data').then(isReady, () => ended)
  const exit = await Promise.race([ended, answered])
  if (asked[0] !== undefined) return 128 + constants.signals[asked[0]]
  if (exit === undefined) return 0
  const [code, signal] = exit
  if (signal === null) return code ?? 0
  complain(`it was killed by ${signal} before clients could connect`)
  return 128 + constants.signals[signal]
}
