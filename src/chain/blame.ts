/** Records which layer threw an error, and in which callback, because the log must name them. */
import { isOnPurpose, logMessageOf, stackLinesOf } from '../api/error-text.js'
import { messageOf } from '../api/errors.js'

interface Blame {
  readonly layer: string
  readonly operation: string
}

const blames = new WeakMap<object, Blame>()

/**
 * Records the layer and callback of an error, and returns the error to throw. The first record counts,
 * because an error passes through outer layers. A thrown text becomes an Error, which can carry the record.
 */
export function blamed(error: unknown, layer: string, operation: string): unknown {
  const noted =
    typeof error === 'object' && error !== null ? error : new Error(messageOf(error), { cause: error })
  if (!blames.has(noted)) blames.set(noted, { layer, operation })
  return noted
}

/**
 * The text for the log about a failed callback: `my-disk: open: TypeError: … (my-disk.ts:12)`. Parts that the
 * message itself contains are not repeated.
 *
 * @param withStack append the stack on further lines, where it helps.
 * @param request replaces the operation's name, as in `read 4096 at 0`. An error that a layer throws on
 * purpose for a request needs no layer name.
 * @param ending appended to the message.
 */
export function failureOf(error: unknown, withStack: boolean, request?: string, ending = ''): string {
  const found = typeof error === 'object' && error !== null ? blames.get(error) : undefined
  const text = logMessageOf(error)
  const onPurpose = isOnPurpose(error)
  const what = request ?? (onPurpose ? '' : (found?.operation ?? ''))
  const layer = found && !(onPurpose && request !== undefined) ? `${found.layer}: ` : ''
  const said = text.startsWith(layer) ? text.slice(layer.length) : text
  const line = what === '' || said.startsWith(what) ? layer + said : `${layer}${what}: ${said}`
  return `${line}${ending}${withStack ? stackLinesOf(error) : ''}`
}
