import { absolutePath, requireUtf8 } from './byte-text.js'
import { ConfigError, messageOf } from './errors.js'
import {
  checkDelay,
  checkProbability,
  checkRange,
  descriptorMax,
  parseBoolean,
  parseDelay,
  parseDescriptor,
  parseInteger,
  parseProbability,
  parseSize,
  readPassword,
} from './parse.js'

/**
 * A parameter of a plugin or filter: how it is parsed, documented and typed, in one. Made by {@link param}.
 */
export interface Param<T = unknown> {
  /** What the help shows after `=`: `SIZE`, `on|off`. */
  readonly placeholder: string
  readonly doc: string
  /** The keys on the command line: the parameter's own name, unless given. */
  readonly keys?: readonly string[]
  readonly required?: boolean
  readonly default?: T
  /** It takes a bare word (nbdkit(1), "Magic parameters"). */
  readonly magic?: boolean
  /** The layer turns it into bytes itself, so its text need not be UTF-8 (byte-text.ts). */
  readonly bytes?: boolean
  /** No message shows it. */
  readonly secret?: boolean
  /** It takes, by key, each `key=value` that no layer declares. */
  readonly others?: boolean
  /** It takes, in order, each `key=value` that no layer declares, and each further bare word. */
  readonly settings?: boolean
  /** Text from a command line to a value, or a throw that says what is wrong. */
  parse(text: string): T
  /** Checks a value given in code. */
  check(value: unknown): T
}
export type Params = Readonly<Record<string, Param>>

/** What a layer that is another program is told: `key=value`, or a bare word where there is no key. */
export type Setting = readonly [key: string | undefined, value: string]

interface Options<T> {
  readonly doc: string
  readonly keys?: readonly string[]
  readonly required?: boolean
  readonly default?: T
  readonly magic?: boolean
  readonly bytes?: boolean
}

interface Spellings<W> {
  readonly also?: Readonly<Record<string, W>>
  readonly anyCase?: boolean
}

type ValueOf<X> = X extends Param<infer T> ? T : never
/** A parameter that is required, or has a default, always has a value. */
type Certain<X> = X extends { required: true }
  ? true
  : X extends { default: NonNullable<unknown> }
    ? true
    : false
type RequiredKeys<P extends Params> = { [K in keyof P]: P[K] extends { required: true } ? K : never }[keyof P]

/** What `setup` is given. */
export type Values<P extends Params> = {
  readonly [K in keyof P]: Certain<P[K]> extends true ? ValueOf<P[K]> : ValueOf<P[K]> | undefined
}
/** What a caller gives in code: a value, or its text as on the command line. */
export type Inputs<P extends Params> = {
  readonly [K in RequiredKeys<P>]: ValueOf<P[K]> | string
} & { readonly [K in Exclude<keyof P, RequiredKeys<P>>]?: ValueOf<P[K]> | string | undefined }

function make<T>(placeholder: string, parse: (text: string) => T, check: (value: unknown) => T) {
  return <const O extends Options<T>>(options: O): Param<T> & O => ({ placeholder, parse, check, ...options })
}

function expect<T>(type: string, guard: (value: unknown) => value is T, narrow: (value: T) => T = (v) => v) {
  return (value: unknown): T => {
    if (!guard(value)) throw new Error(`expected ${type}, got ${typeof value}`)
    return narrow(value)
  }
}
const isNumber = (value: unknown): value is number => typeof value === 'number'
const isString = (value: unknown): value is string => typeof value === 'string'
const isTexts = (value: unknown): value is Readonly<Record<string, string>> =>
  typeof value === 'object' && value !== null && Object.values(value).every(isString)
const isSettings = (value: unknown): value is readonly Setting[] =>
  Array.isArray(value) &&
  value.every((one) => Array.isArray(one) && (one[0] === undefined || isString(one[0])) && isString(one[1]))
const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean'

/** The kinds of parameters. The words are nbdkit's (nbdkit-plugin(3), "Parsing command line parameters"). */
export const param = {
  /** A size in bytes: `1G` on the command line, a number in code. */
  size: make(
    'SIZE',
    parseSize,
    expect('bytes as a number', isNumber, (n) => checkRange(n, 0, Number.MAX_SAFE_INTEGER)),
  ),
  /** A time in milliseconds in code; on the command line seconds, or with a unit (`10ms`). */
  delay: make('TIME', parseDelay, expect('milliseconds as a number', isNumber, checkDelay)),
  /** 0 to 1; on the command line also `10%` and `1:10`. */
  probability: make('PROBABILITY', parseProbability, expect('a number', isNumber, checkProbability)),
  boolean: make('BOOL', parseBoolean, expect('a boolean', isBoolean)),
  string: make('STRING', (text) => text, expect('a string', isString)),
  /**
   * What users name themselves: by key, the text of each `key=value` that no layer declares. `keys` is what
   * the help shows for them.
   */
  others<const O extends Options<Readonly<Record<string, string>>>>(
    options: O,
  ): Param<Readonly<Record<string, string>>> & O {
    const parse = (text: string): never => {
      throw new Error(`expected an object of texts, got "${text}"`)
    }
    return {
      placeholder: 'VALUE',
      others: true,
      parse,
      check: expect('an object of texts', isTexts),
      ...options,
    }
  },
  /**
   * What another program takes and only it knows: pairs of key and value, in the order given, any key as
   * often as it comes. `Object.entries({ file: 'disk.img' })` are such pairs.
   */
  settings<const O extends Options<readonly Setting[]>>(options: O): Param<readonly Setting[]> & O {
    const parse = (text: string): never => {
      throw new Error(`expected pairs of key and value, got "${text}"`)
    }
    return {
      placeholder: 'VALUE',
      settings: true,
      parse,
      check: expect('pairs of key and value', isSettings),
      ...options,
    }
  },
  /** A file's name, made absolute at once: a server may change its directory later. */
  path: make('PATH', absolute, expect('a path', isString, absolute)),
  /** `-`, `-FD` and `+FILE` read it from elsewhere. A value in code is taken as it is on a command line. */
  password<const O extends Options<string>>(options: O): Param<string> & O {
    const check = expect('a string', isString, readPassword)
    return { placeholder: 'PASSWORD', bytes: true, secret: true, parse: readPassword, check, ...options }
  },
  /** An integer from `min` to `max`. */
  int<const O extends Options<number> & { min?: number; max?: number }>(options: O): Param<number> & O {
    const min = options.min ?? 0
    const max = options.max ?? Number.MAX_SAFE_INTEGER
    return {
      placeholder: 'N',
      parse: (text) => parseInteger(text, min, max),
      check: expect('a number', isNumber, (n) => checkRange(n, min, max)),
      ...options,
    }
  },
  /** The number of a file descriptor, from `min` on: on the command line one that was inherited. */
  descriptor<const O extends Options<number> & { min?: number }>(options: O): Param<number> & O {
    const inRange = (fd: number) => checkRange(fd, options.min ?? 0, descriptorMax)
    return {
      placeholder: 'FD',
      parse: (text) => parseDescriptor(text, options.min ?? 0),
      check: expect('a number', isNumber, inRange),
      ...options,
    }
  },
  /** One of a few words. `also`: other spellings of them, which are not shown; `anyCase`: as in `TIME`. */
  oneOf<const W extends string, const O extends Options<NoInfer<W>> & Spellings<NoInfer<W>>>(
    words: readonly W[],
    options: O,
  ): Param<W> & O {
    const { also = {}, anyCase } = options
    const parse = (text: string): W => {
      const given = anyCase ? text.toLowerCase() : text
      const word = Object.hasOwn(also, given) ? also[given] : words.find((w) => w === given)
      if (word === undefined) throw new Error(`"${text}" is none of ${words.join(', ')}`)
      return word
    }
    return {
      placeholder: words.join('|'),
      parse,
      check: expect('a word', isString, parse) as never,
      ...options,
    }
  },
}

function absolute(path: string): string {
  if (path === '') throw new Error('the file name is empty')
  return absolutePath(path)
}

/** The keys by which a parameter is given on the command line. */
export function keysOf(name: string, parameter: Param): readonly string[] {
  return parameter.keys ?? [name]
}

/**
 * Turns what a user gave into what `setup` is given.
 *
 * @throws ConfigError that names the layer and the key, for a value that does not parse, is missing, or is
 * unknown.
 */
export function resolveValues<P extends Params>(
  layer: string,
  params: P,
  inputs: Readonly<Record<string, unknown>>,
) {
  const unknown = Object.keys(inputs).find((name) => !Object.hasOwn(params, name))
  if (unknown !== undefined)
    throw new ConfigError(`${layer}: unknown parameter "${unknown}" (it knows ${knownKeys(params)})`)
  const values: Record<string, unknown> = {}
  for (const [name, parameter] of Object.entries(params)) {
    const key = keysOf(name, parameter)[0]
    const input = inputs[name]
    if (input === undefined) {
      if (parameter.required) throw new ConfigError(`${layer}: ${key}=${parameter.placeholder} is required`)
      values[name] = parameter.default
    } else {
      try {
        values[name] = resolveValue(parameter, input)
      } catch (error) {
        throw new ConfigError(`${layer}: ${key}: ${messageOf(error)}`, { cause: error })
      }
    }
  }
  return values as Values<P>
}

/** @throws Error for a text that is not UTF-8, where the layer would change its bytes. */
function resolveValue({ parse, check, bytes, others, settings }: Param, input: unknown): unknown {
  if (!bytes && typeof input === 'string') requireUtf8(input)
  if (!bytes && (others || settings)) for (const text of textsIn(input)) requireUtf8(text)
  const value = typeof input === 'string' ? parse(input) : check(input)
  // The path of a directory that is not UTF-8 may have come before it.
  if (!bytes && typeof value === 'string') requireUtf8(value)
  return value
}

/** Of values by their keys, or of a list of pairs. */
function textsIn(input: unknown): string[] {
  return Object.entries(input ?? {})
    .flat(2)
    .filter(isString)
}

/** For a message: the keys that a layer knows. */
export function knownKeys(params: Params): string {
  const keys = Object.entries(params).flatMap(([name, parameter]) => keysOf(name, parameter))
  return keys.length > 0 ? keys.join(', ') : 'none'
}
