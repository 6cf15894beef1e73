import { showBytes } from '../api/byte-text.js'

/** The longest message written, in characters: text chosen by a file or a peer may have any length. */
export const messageCharactersMax = 16_384

/** A message that is too long keeps its start and its end: what is wrong, and what to do. */
const endCharacters = 4096

/**
 * Makes a message safe to write. Text chosen by a client, a file or a script must not look like a line of
 * ours, move a terminal's cursor or change the direction of the text. Such characters are escaped, further
 * lines are indented, and a message that is too long loses its middle.
 */
export function printable(text: string): string {
  return shortened(showBytes(text).trimEnd()).replaceAll(unprintable, spelled).replaceAll('\n', '\n  ')
}

/** Control characters except newline and tab, line separators, bidirectional controls, lone surrogates. */
const unprintable = /[^\P{Cc}\n\t]|[\u2028\u2029\p{Bidi_Control}\p{Surrogate}]/gu

function spelled(character: string): string {
  const code = character.charCodeAt(0)
  const hex = code.toString(16)
  return code < 256 ? `\\x${hex.padStart(2, '0')}` : `\\u${hex.padStart(4, '0')}`
}

function shortened(text: string): string {
  const over = text.length - messageCharactersMax
  if (over <= 0) return text
  const head = text.slice(0, messageCharactersMax - endCharacters)
  return `${head} [${over} characters left out] ${text.slice(-endCharacters)}`
}

/** The most characters in a line. The NBD protocol limits a message to a client to 4096 bytes. */
const lineCharactersMax = 4000

/** Output of a script or a plugin, as a single line of limited length that is also fit for a client. */
export function printableLine(text: string): string {
  // Cut first: there is no need to escape text that is dropped.
  return cut(printable(cut(text).replaceAll(/[\n\t]/g, ' ')))
}

function cut(text: string): string {
  return text.length > lineCharactersMax ? `${text.slice(0, lineCharactersMax)}…` : text
}
