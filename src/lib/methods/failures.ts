/** How a plugin of somebody else's fails: by a word to the client, or by an exception it did not mean. */
import { NbdError } from '../../api/errors.js'
import { printableLine } from '../printable.js'

/** What a plugin says on purpose, and a client is told. `code` is the name of any errno. */
export function saidError(code: string, message: string): NbdError {
  return Object.assign(new NbdError('EIO', printableLine(message)), { code })
}

/**
 * An exception in the code of a plugin. Its `name` is that of the exception, which is all that a client is
 * told; its stack is the place in the author's own file, `FILE:LINE`: frames of ours say nothing about it.
 */
export class PluginException extends Error {
  override readonly name: string

  constructor(name: string, text: string, method: string, place: string) {
    super(printableLine(text))
    this.name = name
    this.stack = `${name}: ${this.message}\n    at ${method} (${printableLine(place)}:1)`
  }
}
