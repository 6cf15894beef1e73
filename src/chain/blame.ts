/** Which layer threw an error, and in which callback: for the log, which must name it. */
import { isOnPurpose, logMessageOf, stackLinesOf } from '../api/error-text.js'
import { messageOf } from '../api/errors.js'

interface Blame {
  readonly layer: string
  readonly operation: string
}

const blames = new WeakMap<object, Blame>()

/**
 * Notes it, and gives the error to throw. The first to be noted is to blame: an error passes through the
 * layers around it on its way. What is thrown as a bare text becomes an error, which can be blamed on
 * somebody.
 */
export function blamed(error: unknown, layer: string, operation: string): unknown {
  const noted =
    typeof error === 'object' && error !== null ? error : new Error(messageOf(error), { cause: error })
  if (!blames.has(noted)) blames.set(noted, { layer, operation })
  return noted
}

/**
 * What the log says of a callback that failed: `my-disk: open: TypeError: … (my-disk.ts:12)`. What the
 * message says itself is not said twice.
 *
 * @param withStack the stack follows on further lines, where it helps.
 * @param request said in place of the operation's name, as in `read 4096 at 0`. What a layer says on purpose
 * of a
 *   request needs no name of a layer.
 * @param ending stands behind the message.
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
