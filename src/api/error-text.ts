/**
 * What is said of an error, and to whom. A layer throws some on purpose, with words for whoever asked; any
 * other is a mistake of its author, who needs the place, and whose words are nobody else's business.
 */
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigError, isA, messageOf, NbdError, ProtocolError, propertyOf } from './errors.js'

/** Names of the system's errors, and not of Node's own (`ERR_INVALID_ARG_TYPE`). */
const systemCode = /^E[A-Z0-9]+$/

/** A layer, or the system, says no. Anything else that is thrown is a mistake in a program. */
export function isOnPurpose(error: unknown): boolean {
  const isSaid = isA(error, NbdError) || isA(error, ConfigError) || isA(error, ProtocolError)
  return isSaid || codeOf(error) !== undefined
}

/**
 * What a client is told: the words of whoever threw it on purpose. What the system says names files of this
 * machine, so that only its code is told; of a mistake only its name.
 */
export function clientMessageOf(error: unknown): string {
  const code = codeOf(error)
  const bySystem = code !== undefined && propertyOf(error, 'syscall') !== undefined
  if (isA(error, NbdError) || isA(error, ConfigError) || (code !== undefined && !bySystem))
    return messageOf(error)
  return code ?? nameOf(error)
}

/** What a log says. Of a mistake that is also its name, and the line of its author. */
export function logMessageOf(error: unknown): string {
  if (isOnPurpose(error)) return messageOf(error)
  const name = nameOf(error)
  const said = `${name === 'Error' ? '' : `${name}: `}${messageOf(error)}`
  const place = placeIn(framesOf(error))
  return place === undefined ? said : `${said} (${basename(place.file)}:${place.line})`
}

/** The stack as further lines, where it helps somebody: of a mistake, and of what a user's own file threw. */
export function stackLinesOf(error: unknown): string {
  const stack = framesOf(error)
  const first = stack.search(/^ +at /m)
  const helps = first !== -1 && (!isOnPurpose(error) || placeIn(stack) !== undefined)
  return helps ? `\n${stack.slice(first)}` : ''
}

/** The stack without the message, which may hold whatever a client chose. */
function framesOf(error: unknown): string {
  const stack = propertyOf(error, 'stack')
  return typeof stack === 'string' ? stack.replace(messageOf(error), () => '') : ''
}

/** Ten lines are far shorter: what is longer is none of Node. */
const stackCharactersMax = 8192

/** What we are made of, which is never at fault for an error of a user's file. */
const ours = new URL('../', import.meta.url)
const oursAsPath = fileURLToPath(ours)

/**
 * The first file and line that a stack names, and that is not ours; rather the user's own than that of a
 * package in use. That of a syntax error stands on a line of its own, that of any other error in the first
 * line after `at`.
 */
export function placeIn(stack: string): { readonly file: string; readonly line: string } | undefined {
  const alone = /^ ?((?:file:\/\/)?\/.*?):(\d+)(?::\d+)?$/gm
  const frame = /^ +at (?:.*\()?((?:file:\/\/)?\/.*?):(\d+):\d+\)?$/gm
  const text = stack.slice(0, stackCharactersMax)
  const places = [...text.matchAll(alone), ...text.matchAll(frame)]
    .map(([, file = '', line = '']) => ({ file: pathOf(file), line }))
    .filter(({ file }) => !file.startsWith(oursAsPath) && !file.includes('/node_modules/jiti/'))
  return places.find(({ file }) => !file.includes('/node_modules/')) ?? places[0]
}

function pathOf(file: string): string {
  try {
    return file.startsWith('file:') ? fileURLToPath(file) : file
  } catch {
    return file
  }
}

function nameOf(error: unknown): string {
  const name = isA(error, Error) ? propertyOf(error, 'name') : undefined
  return typeof name === 'string' && /^\w{1,64}$/.test(name) ? name : 'Error'
}

function codeOf(error: unknown): string | undefined {
  const code = propertyOf(error, 'code')
  return typeof code === 'string' && systemCode.test(code) ? code : undefined
}
