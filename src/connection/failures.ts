import type { Log } from '../api/log.js'
import { failureOf } from '../chain/blame.js'

/** Logs why a client was refused, because many clients do not show their user the server's message. */
export class Failures {
  readonly #log: Log
  readonly #clientIsGone: () => boolean
  /** The error already logged, on its way to the caller. */
  #told: { readonly error: unknown } | undefined

  constructor(log: Log, clientIsGone: () => boolean) {
    this.#log = log
    this.#clientIsGone = clientIsGone
  }

  /** Returns the result of `work`. Logs a rejection before passing it on. */
  async noted<T>(what: string, work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      this.#told = { error }
      const text = `${what}: ${failureOf(error, this.#log.debugging)}`
      // The failure may be due to the client having left.
      if (this.#clientIsGone()) this.#log.debug(text)
      else this.#log.error(text)
      throw error
    }
  }

  /** Logs the error that ended the connection, unless `noted` has logged it. */
  ended(error: unknown): void {
    if (this.#told?.error !== error) this.#log.error(failureOf(error, this.#log.debugging))
  }
}
