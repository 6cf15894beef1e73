/** How a plugin in another program fails: with a message for the client, or with an unintended exception. */
import { NbdError } from '../../api/errors.js'
import { printableLine } from '../../lib/printable.js'

/** An error that a plugin reports on purpose and the client is told. `code` is the name of any errno. */
export function saidError(code: string, message: string): NbdError {
  return Object.assign(new NbdError('EIO', printableLine(message)), { code })
}

/**
 * An exception in the code of a plugin. Its `name` is the name of the exception, which is all that a client
 * is told. Its stack is the place in the author's own file, `FILE:LINE`, because frames of ours do not help.
 */
export class PluginException extends Error {
  override readonly name: string

  constructor(name: string, text: string, method: string, place: string) {
    super(printableLine(text))
    this.name = name
    this.stack = `${name}: ${this.message}\n    at ${method} (${printableLine(place)}:1)`
  }
}
