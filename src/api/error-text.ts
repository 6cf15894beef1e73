/**
 * What to say about an error, and to whom. A layer throws some errors on purpose, with a message for the user
 * or client. Any other error is a mistake of the layer's author, who needs the place. Its message is for
 * nobody else.
 */
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigError, isA, messageOf, NbdError, ProtocolError, propertyOf } from './errors.js'

/** Matches names of the system's errors, but not of Node's own (`ERR_INVALID_ARG_TYPE`). */
const systemCode = /^E[A-Z0-9]+$/

/** True for an error thrown on purpose by a layer or the system. Anything else is a mistake in a program. */
export function isOnPurpose(error: unknown): boolean {
  const isSaid = isA(error, NbdError) || isA(error, ConfigError) || isA(error, ProtocolError)
  return isSaid || codeOf(error) !== undefined
}

/**
 * The message for a client: the text of an error thrown on purpose. The system's texts name files of this
 * machine, so the client gets only the code. Of a mistake, the client gets only the error's name.
 */
export function clientMessageOf(error: unknown): string {
  const code = codeOf(error)
  const bySystem = code !== undefined && propertyOf(error, 'syscall') !== undefined
  if (isA(error, NbdError) || isA(error, ConfigError) || (code !== undefined && !bySystem))
    return messageOf(error)
  return code ?? nameOf(error)
}

/** The message for a log. For a mistake, it includes the error's name and the author's line. */
export function logMessageOf(error: unknown): string {
  if (isOnPurpose(error)) return messageOf(error)
  const name = nameOf(error)
  const said = `${name === 'Error' ? '' : `${name}: `}${messageOf(error)}`
  const place = placeIn(framesOf(error))
  return place === undefined ? said : `${said} (${basename(place.file)}:${place.line})`
}

/**
 * The stack as further lines, where it helps: for a mistake, and for an error thrown in a user's own file.
 */
export function stackLinesOf(error: unknown): string {
  const stack = framesOf(error)
  const first = stack.search(/^ +at /m)
  const helps = first !== -1 && (!isOnPurpose(error) || placeIn(stack) !== undefined)
  return helps ? `\n${stack.slice(first)}` : ''
}

/** The stack without the message, which may hold text that a client chose. */
function framesOf(error: unknown): string {
  const stack = propertyOf(error, 'stack')
  return typeof stack === 'string' ? stack.replace(messageOf(error), () => '') : ''
}

/** Node's ten lines are far shorter. A longer stack was not made by Node. */
const stackCharactersMax = 8192

/** The program's own files, which are never at fault for an error of a user's file. */
const ours = new URL('../', import.meta.url)
const oursAsPath = fileURLToPath(ours)

/**
 * Returns the first file and line in a stack outside the program, preferring the user's own file to that of
 * an installed package. A syntax error has its place on a line of its own, any other error in the first line
 * after `at`.
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
