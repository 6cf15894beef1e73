/** `@FILE` on the command line: the lines of a file, each as an argument of its own. */
import { readFileSync } from 'node:fs'
import { ConfigError, messageOf } from '../api/errors.js'

/**
 * What stands for a word that follows the plugin; undefined for a word that stands for itself. Blank lines
 * and lines that begin with `#` are skipped; the blanks around a line are not part of it.
 *
 * @throws ConfigError when the file cannot be read.
 */
export function argumentsInFile(word: string): readonly string[] | undefined {
  if (!word.startsWith('@')) return undefined
  const path = word.slice(1)
  try {
    if (path === '') throw new Error('the name of the file is missing')
    const lines = readFileSync(path, 'utf8')
      .split('\n')
      .map((line) => line.trim())
    return lines.filter((line) => line !== '' && !line.startsWith('#'))
  } catch (error) {
    const otherwise = 'a value that begins with @ is given with its key, as in KEY=@VALUE'
    throw new ConfigError(`${word}: cannot read arguments: ${messageOf(error)} (${otherwise})`, {
      cause: error,
    })
  }
}
