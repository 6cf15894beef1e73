/** Asks about the properties and capabilities of a handle, one by one (nbdkit-plugin(3)). */
import type { Support } from '../../api/device.js'
import { readSupport } from './answers.js'
import type { Handle } from './handle.js'
import { type Outcome, textOf } from './methods.js'

export class Questions {
  readonly #handle: Handle

  constructor(handle: Handle) {
    this.#handle = handle
  }

  /** Undefined where there is no such method. */
  async read<T>(method: string, parse: (text: string) => T): Promise<T | undefined> {
    const { status, output } = await this.#ask(method)
    if (status === 'missing') return undefined
    if (status === 'false') throw new Error(`${method}: expected an answer, got "false"`)
    try {
      return parse(textOf(output))
    } catch (error) {
      throw new Error(`${method}: ${(error as Error).message}`, { cause: error })
    }
  }

  async whether(method: string): Promise<boolean | undefined> {
    const { status } = await this.#ask(method)
    return status === 'missing' ? undefined : status === 'ok'
  }

  /** Whether the handle can do something. Defaults to whether the method for it is known to exist. */
  async can(method: string, action: string): Promise<boolean> {
    return (await this.whether(method)) ?? this.#handle.has(action)
  }

  async support(method: string, otherwise: Support): Promise<Support> {
    return (await this.read(method, readSupport)) ?? otherwise
  }

  async #ask(method: string): Promise<Outcome> {
    return this.#handle.lacks(method) ? missing : this.#handle.call(method)
  }
}

const missing: Outcome = { status: 'missing', output: new Uint8Array(0) }
