/**
 * Quotes a word for any POSIX shell: as it is where that is safe, else within double quotes.
 *
 * @example shellQuote('two words') // '"two words"'
 */
export function shellQuote(text: string): string {
  if (/^[\w,\-./:=]+$/.test(text)) return text
  return `"${text.replace(/[\\"$`]/g, '\\$&')}"`
}

/**
 * The same for a log: always on one line, and harmless to a terminal. Text with control characters is quoted
 * as `$'…'`, each of them in octal, as bash, ksh, zsh and POSIX 2024 read it.
 */
export function shellQuoteLine(text: string): string {
  if (!/[\p{Cc}\u2028\u2029]/u.test(text)) return shellQuote(text)
  const escaped = text.replace(/[\\']/g, '\\$&').replace(/[\p{Cc}\u2028\u2029]/gu, octal)
  return `$'${escaped}'`
}

function octal(character: string): string {
  return [...Buffer.from(character)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')
}
