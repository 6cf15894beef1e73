import type { Log } from '../api/log.js'
import { failureOf } from '../chain/blame.js'

/** Tells the log why a client was refused: many clients tell their user nothing of what they were told. */
export class Failures {
  readonly #log: Log
  readonly #clientIsGone: () => boolean
  /** Told already, and on its way to whoever asked. */
  #told: { readonly error: unknown } | undefined

  constructor(log: Log, clientIsGone: () => boolean) {
    this.#log = log
    this.#clientIsGone = clientIsGone
  }

  /** What `work` gives, or a rejection that the log has been told of. */
  async noted<T>(what: string, work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      this.#told = { error }
      const text = `${what}: ${failureOf(error, this.#log.debugging)}`
      // That the client has left may be why.
      if (this.#clientIsGone()) this.#log.debug(text)
      else this.#log.error(text)
      throw error
    }
  }

  /** Tells of what ended the connection, unless that has been told. */
  ended(error: unknown): void {
    if (this.#told?.error !== error) this.#log.error(failureOf(error, this.#log.debugging))
  }
}
