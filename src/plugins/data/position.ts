import { showBytes } from '../../api/byte-text.js'
import { ConfigError } from '../../api/errors.js'

/** A text in the language of the `data` parameter: the parameter itself, or a variable in it. */
export interface Source {
  /** `$NAME` of a variable; empty for the parameter itself. */
  readonly name: string
  readonly text: string
}

/** A position in a text, for messages. */
export interface Position {
  readonly source: Source
  /** In UTF-16 units from the start of the text. */
  readonly at: number
  /** The token as written there. */
  readonly token: string
}

/** An error of the data's author, with its position. */
export function errorAt({ source, at, token }: Position, message: string, cause?: unknown): ConfigError {
  const before = source.text.slice(0, at).split('\n')
  const where = `line ${before.length}, column ${(before.at(-1) ?? '').length + 1}`
  const shown = token.length > 40 ? `${token.slice(0, 40)}…` : token
  const inside = source.name === '' ? '' : `${source.name}, `
  return new ConfigError(`data: ${inside}${where}: ${JSON.stringify(showBytes(shown))}: ${message}`, {
    cause,
  })
}
