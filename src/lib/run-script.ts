import { spawn } from './spawn.js'
import { expectProgram, started } from './started.js'

/** How a script ended: by itself with a status, or by a signal. */
export interface ScriptEnd {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * Runs a script of the user's with the shell, beside everything else. It has nothing to read, and what it
 * prints goes to standard error: standard output may be a client's connection. It ends with us at the latest,
 * with what it has started.
 *
 * @param variables what it finds in its environment; undefined takes a variable away.
 * @returns how it ended; rejects when it could not be started.
 * @example const { status } = await runScript('test -e "$file"', { file: '/tmp/stop' })
 */
export function runScript(
  script: string,
  variables: Readonly<Record<string, string | undefined>> = {},
): Promise<ScriptEnd> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...variables }
    expectProgram()
    const child = spawn('/bin/sh', ['-c', script], { detached: true, stdio: ['ignore', 2, 2], env })
    const forget = started(child)
    child.on('error', reject)
    child.on('exit', (status, signal) => {
      forget()
      resolve({ status, signal })
    })
  })
}
