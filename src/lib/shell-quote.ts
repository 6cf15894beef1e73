/**
 * Quotes a word for any POSIX shell: unchanged where that is safe, else in double quotes.
 *
 * @example shellQuote('two words') // '"two words"'
 */
export function shellQuote(text: string): string {
  if (/^[\w,\-./:=]+$/.test(text)) return text
  return `"${text.replace(/[\\"$`]/g, '\\$&')}"`
}

/**
 * Quotes a word for a log: always on one line, and harmless to a terminal. Text with control characters is
 * quoted as `$'…'`, each of them in octal, which bash, ksh, zsh and POSIX 2024 can read.
 */
export function shellQuoteLine(text: string): string {
  if (!/[\p{Cc}\u2028\u2029]/u.test(text)) return shellQuote(text)
  const escaped = text.replace(/[\\']/g, '\\$&').replace(/[\p{Cc}\u2028\u2029]/gu, octal)
  return `$'${escaped}'`
}

function octal(character: string): string {
  return [...Buffer.from(character)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')
}
