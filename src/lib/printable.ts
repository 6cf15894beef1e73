import { showBytes } from '../api/byte-text.js'

/** The longest message that is written, in characters: what a file or a peer chose may be of any length. */
export const messageCharactersMax = 16_384

/** What begins and ends a message that is too long is kept: what is wrong, and what to do. */
const endCharacters = 4096

/**
 * A message as it may be written: what a client, a file or a script chose must not look like a line of ours,
 * nor move the cursor of a terminal or turn the text around. Such characters are spelled out, further lines
 * are indented, and what is too long loses its middle.
 */
export function printable(text: string): string {
  return shortened(showBytes(text).trimEnd()).replaceAll(unprintable, spelled).replaceAll('\n', '\n  ')
}

/** Control characters but the end of a line and tabs, separators of lines, directions of writing, halves. */
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

/** The most characters of a line: the NBD protocol lets a client be told 4096 bytes. */
const lineCharactersMax = 4000

/** What a script or a plugin says, as a client may be told too: on one line, which has an end. */
export function printableLine(text: string): string {
  // Cut first: what is thrown away needs no other spelling.
  return cut(printable(cut(text).replaceAll(/[\n\t]/g, ' ')))
}

function cut(text: string): string {
  return text.length > lineCharactersMax ? `${text.slice(0, lineCharactersMax)}…` : text
}
