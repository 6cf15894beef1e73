import { expectProgram, killGroup, started } from './process-groups.js'
import { spawn } from './spawn.js'

/** A process that the script left in the background may hold the output open. It is not waited for, in ms. */
const quietMs = 200

export interface ScriptOutputOptions {
  /** Set in the script's environment. */
  readonly variables: Readonly<Record<string, string>>
  /** What the script prints beyond this many bytes is discarded, and the script is killed. */
  readonly bytesMax: number
  /** Any of these kills the script. */
  readonly signals?: readonly AbortSignal[]
}

/**
 * Runs a user's script with the shell and returns the start of its output. The script has no input, and its
 * messages go to standard error. The exit status does not matter. The script ends with this process at the
 * latest, along with everything it started.
 *
 * @throws Error with a `code` where the shell cannot be started.
 * @example await scriptOutput('date', { variables: {}, bytesMax: 4096 })
 */
export function scriptOutput(
  script: string,
  { variables, bytesMax, signals = [] }: ScriptOutputOptions,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...variables }
    expectProgram()
    const child = spawn('/bin/sh', ['-c', script], { detached: true, stdio: ['ignore', 'pipe', 2], env })
    const forget = started(child)
    const kill = () => killGroup(child)
    const chunks: Buffer[] = []
    let length = 0
    child.stdout
      ?.on('data', (chunk: Buffer) => {
        chunks.push(chunk.subarray(0, Math.max(0, bytesMax - length)))
        length += chunk.length
        if (length > bytesMax) kill()
      })
      .on('error', () => {})
    for (const signal of signals)
      if (signal.aborted) kill()
      else signal.addEventListener('abort', kill, { once: true })
    const unwatch = () => {
      for (const signal of signals) signal.removeEventListener('abort', kill)
    }
    let timer: NodeJS.Timeout | undefined
    child.on('error', (error) => {
      unwatch()
      reject(error)
    })
    child.on('exit', () => {
      unwatch()
      forget()
      timer = setTimeout(() => child.stdout?.destroy(), quietMs)
    })
    child.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(chunks))
    })
  })
}
