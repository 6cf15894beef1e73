/** Methods as a script that is started for each call (nbdkit-sh-plugin(3)). */
import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'
import type { Connection } from '../../api/connection.js'
import { NbdError } from '../../api/errors.js'
import type { ServerContext } from '../../api/plugin.js'
import { saidError } from '../methods/failures.js'
import { type CallOptions, type Methods, type Outcome, textMax } from '../methods/methods.js'
import { whyNotRun } from '../why-not-run.js'
import { type Ended, runProgram } from './program.js'
import { watchFor } from './unwanted.js'

/** The highest exit status with a meaning of its own. */
export const maxKnownStatus = 8

/** Methods that change data: interrupting one may leave half of the change. */
const writes: ReadonlySet<string> = new Set(['pwrite', 'trim', 'zero', 'flush'])

/** How to run a method: a file, and the arguments before the method's words. */
export interface ScriptCommand {
  readonly file: string
  readonly args: readonly string[]
}

export interface ScriptsOptions {
  /** Undefined for a missing method: nothing is started. */
  readonly commandOf: (method: string) => ScriptCommand | undefined
  /** The script's name, for messages. */
  readonly name: string
  readonly known?: ReadonlySet<string>
  /** The value of the script's variable `tmpdir`. */
  readonly directory: string
  readonly server: Pick<ServerContext, 'shutdown' | 'stopping' | 'log'>
}

export class ScriptMethods implements Methods {
  readonly name: string
  readonly known?: ReadonlySet<string>
  readonly #options: ScriptsOptions
  readonly #env: NodeJS.ProcessEnv

  constructor(options: ScriptsOptions) {
    this.#options = options
    this.name = options.name
    if (options.known) this.known = options.known
    this.#env = { ...process.env, tmpdir: options.directory }
  }

  async call(
    method: string,
    words: readonly (string | number)[],
    { input, into, connection }: CallOptions = {},
  ): Promise<Outcome> {
    const command = this.#options.commandOf(method)
    if (command === undefined) return { status: 'missing', output: [] }
    const { name, server } = this.#options
    const { file, args } = command
    let ended: Ended
    try {
      ended = await runProgram({
        file,
        args: [...args, method, ...words.map(String)],
        env: this.#env,
        outputMax: into?.length ?? textMax,
        ...(input === undefined ? {} : { input }),
        ...(into === undefined ? {} : { outputMin: into.length }),
        ...(connection === undefined ? {} : { watch: watchFor(connection, writes.has(method), server) }),
      })
    } catch (error) {
      throw new NbdError('EIO', `${name} cannot be run: ${whyNotRun(file, error)}`, { cause: error })
    }
    return this.#outcome(method, ended, connection)
  }

  /** Interprets the exit status. */
  #outcome(method: string, ended: Ended, connection: Connection | undefined): Outcome {
    const { status, signal, flooded, output, outputLength } = ended
    const { name, server } = this.#options
    if (flooded)
      throw new NbdError('EIO', `${name} ${method}: it printed ${outputLength} bytes or more, and was killed`)
    if (signal !== null) throw new NbdError('EIO', `${name} ${method}: it was killed by ${signal}`)
    switch (status) {
      case 0:
        return { status: 'ok', output }
      case 2:
        return { status: 'missing', output: [] }
      case 3:
        return { status: 'false', output: [] }
      case 4:
        server.shutdown()
        return { status: 'ok', output }
      case 5:
        server.shutdown()
        throw failure(ended, `${name} ${method}`, 'ESHUTDOWN')
      case 6:
        connection?.disconnect(true)
        return { status: 'ok', output }
      case 7:
        connection?.disconnect(false)
        return { status: 'ok', output }
      case 8:
        connection?.disconnect(false)
        throw failure(ended, `${name} ${method}`, 'ESHUTDOWN')
      default:
        throw failure(ended, `${name} ${method}`, 'EIO')
    }
  }
}

/** Standard error may begin with an errno name. The rest is the message. */
function failure({ messages, status }: Ended, what: string, otherwise: string): Error {
  const { code, text } = errnoAndText(messages)
  const message = text === '' ? `${what}: it ended with status ${status}` : text
  return saidError(code ?? otherwise, message)
}

const errnoNames: ReadonlySet<string> = new Set([
  ...Object.keys(constants.errno),
  ...[...getSystemErrorMap().values()].map(([name]) => name),
])

/** Splits a message such as `ENOSPC the disk is full`. The name may stand alone, in upper or lower case. */
export function errnoAndText(messages: string): { readonly code: string | undefined; readonly text: string } {
  const [, word = '', rest = ''] = /^\s*([a-z0-9]+)(?:[\s:]+(.*))?$/is.exec(messages) ?? []
  const code = errnoNames.has(word.toUpperCase()) ? word.toUpperCase() : undefined
  const text = code === undefined ? messages : rest
  return { code, text: text.trim().replaceAll(/\s*\n\s*/g, '; ') }
}
