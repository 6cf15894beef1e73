/**
 * The words that the process was started with, byte for byte. Node's copy has lost the bytes that are not
 * UTF-8.
 */
import { readFileSync } from 'node:fs'
import { splitAtNul, textOfBytes } from '../../api/byte-text.js'
import { ConfigError } from '../../api/errors.js'

const replacement = '\ufffd'

/**
 * Returns the last words of the process, which are the program's words in Node.
 *
 * @param decoded the words as Node decoded them.
 * @throws ConfigError for a word that Node may have changed, where the system does not show its bytes.
 */
export function rawArguments(decoded: readonly string[]): readonly string[] {
  if (!decoded.some((word) => word.includes(replacement))) return decoded
  const raw = wordsOfProcess().slice(-decoded.length)
  const isSame =
    raw.length === decoded.length && raw.every((word, index) => word.toString() === decoded[index])
  if (isSame) return raw.map(textOfBytes)
  const changed = decoded.find((word) => word.includes(replacement))
  throw new ConfigError(`"${changed}" is not UTF-8, and this system does not show its bytes`)
}

function wordsOfProcess(): Buffer[] {
  try {
    return splitAtNul(readFileSync('/proc/self/cmdline'))
  } catch {
    return []
  }
}
