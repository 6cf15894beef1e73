/**
 * Parses a command line as getopt_long(3) does: options and other words in any order, `--name=value` and
 * `--name value`, unique prefixes of long names, `-fv`, `-p1`, `-p 1`, and `--`, which ends the options.
 */
import { ConfigError } from '../../api/errors.js'
import { orNearest } from '../../api/nearest.js'

/** The facts about an option that the parser needs. */
export interface OptionShape {
  /** Names without dashes. Messages use the first. */
  readonly names: readonly string[]
  /** One letter. */
  readonly short?: string
  /** Present for an option that takes an argument. */
  readonly placeholder?: string
}

/** An option as given. */
export interface Given<S extends OptionShape> {
  readonly option: S
  /** The argument; empty for an option that takes none. */
  readonly value: string
}

export interface Arguments<S extends OptionShape> {
  /** In the order given. */
  readonly options: readonly Given<S>[]
  readonly words: readonly string[]
}

/**
 * @param expand returns the expansion of a word after the first, or undefined for an ordinary word. The
 * expansion is parsed as if it were on the command line, but not expanded again.
 * @throws ConfigError for an option that is unknown or ambiguous, or that lacks its argument.
 */
export function getopt<S extends OptionShape>(
  argv: readonly string[],
  known: readonly S[],
  expand: (word: string) => readonly string[] | undefined = () => undefined,
): Arguments<S> {
  const options: Given<S>[] = []
  const words: string[] = []
  const rest = [...argv]
  let onlyWords = false
  /** The number of words that followed the last expansion. Until then, words come from the expansion. */
  let afterExpanded = rest.length
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--' && !onlyWords) onlyWords = true
    else if (word.startsWith('--') && !onlyWords) options.push(longOption(word, rest, known))
    else if (word.startsWith('-') && word !== '-' && !onlyWords)
      options.push(...shortOptions(word, rest, known))
    else {
      const stands = words.length > 0 && rest.length < afterExpanded ? expand(word) : undefined
      if (stands === undefined) words.push(word)
      else {
        afterExpanded = rest.length
        rest.unshift(...stands)
      }
    }
  }
  return { options, words }
}

function longOption<S extends OptionShape>(word: string, rest: string[], known: readonly S[]): Given<S> {
  const equals = word.indexOf('=')
  const name = equals < 0 ? word.slice(2) : word.slice(2, equals)
  const attached = equals < 0 ? undefined : word.slice(equals + 1)
  const option = findLong(name, known)
  if (option.placeholder !== undefined)
    return { option, value: attached ?? following(`--${name}`, option, rest) }
  if (attached !== undefined)
    throw new ConfigError(`option --${name} takes no argument, and was given "${attached}"`)
  return { option, value: '' }
}

/**
 * Finds an option. An exact name wins over names that it begins, and several names of one option are not
 * ambiguous.
 */
function findLong<S extends OptionShape>(name: string, known: readonly S[]): S {
  const exact = known.find((option) => option.names.includes(name))
  if (exact) return exact
  const candidates = known.filter((option) => name !== '' && option.names.some((n) => n.startsWith(name)))
  const [only, ...others] = candidates
  if (only && others.length === 0) return only
  const names = candidates.flatMap((option) => option.names.filter((n) => n.startsWith(name)))
  if (names.length > 0)
    throw new ConfigError(`option --${name} is ambiguous: ${names.map((n) => `--${n}`).join(', ')}`)
  const all = known.flatMap((option) => option.names)
  throw new ConfigError(`unknown option --${name}${orNearest(name, all, '--')} (see nbdkit-ts --help)`)
}

/**
 * Parses letters: `-fv` is `-f -v`. Text after the letter of an option that takes an argument is that
 * argument.
 */
function shortOptions<S extends OptionShape>(word: string, rest: string[], known: readonly S[]): Given<S>[] {
  const given: Given<S>[] = []
  const letters = [...word.slice(1)]
  for (const [index, letter] of letters.entries()) {
    const option = known.find(({ short }) => short === letter)
    if (!option) {
      throw new ConfigError(`unknown option -${letter}${within(word)}`)
    }
    if (option.placeholder !== undefined) {
      const attached = letters.slice(index + 1).join('')
      given.push({ option, value: attached || following(`-${letter}`, option, rest) })
      break
    }
    given.push({ option, value: '' })
  }
  return given
}

/**
 * Explains several arguments in one word: they come from the first line of a script, which the kernel does
 * not split.
 */
function within(word: string): string {
  if (/\s/.test(word)) return ` in "${word}" (in a first line "#!", write "env -S" before the program)`
  return `${word.length > 2 ? ` in ${word}` : ''} (see nbdkit-ts --help)`
}

function following(as: string, option: OptionShape, rest: string[]): string {
  const value = rest.shift()
  if (value === undefined)
    throw new ConfigError(`option ${as} needs an argument: ${as} ${option.placeholder}`)
  return value
}
