/** A handle returned by `open`, which belongs to one client. */
import type { Connection } from '../../api/connection.js'
import type { CallOptions, Methods, Outcome } from './methods.js'

export class Handle {
  readonly #methods: Methods
  readonly #name: string
  readonly #connection: Connection

  constructor(methods: Methods, name: string, connection: Connection) {
    this.#methods = methods
    this.#name = name
    this.#connection = connection
  }

  /** True only where the method is known to exist. */
  has(method: string): boolean {
    return this.#methods.known?.has(method) ?? false
  }

  /** True only where the method is known to be missing. */
  lacks(method: string): boolean {
    return this.#methods.known?.has(method) === false
  }

  call(
    method: string,
    words: readonly (string | number)[] = [],
    { input, into }: Omit<CallOptions, 'connection'> = {},
  ): Promise<Outcome> {
    return this.#methods.call(method, [this.#name, ...words], { input, into, connection: this.#connection })
  }

  /**
   * Closes the handle. This call is for the plugin and not for the client, so it completes even where the
   * client was dropped.
   */
  async close(): Promise<void> {
    if (!this.lacks('close')) await this.#methods.call('close', [this.#name])
  }
}
