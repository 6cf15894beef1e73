import { expectProgram, started } from './process-groups.js'
import { spawn } from './spawn.js'

/** How a script ended: with an exit status, or by a signal. */
export interface ScriptEnd {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * Runs a user's script with the shell, in the background. The script has no input, and its output goes to
 * standard error, because standard output may be a client's connection. It ends with this process at the
 * latest, along with everything it started.
 *
 * @param variables set in the script's environment; undefined removes a variable.
 * @returns how the script ended; rejects when it could not be started.
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
