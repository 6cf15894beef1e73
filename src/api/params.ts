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

/** A parameter of a plugin or filter: its parsing, documentation and type in one. Made by {@link param}. */
export interface Param<T = unknown> {
  /** Text after `=` in the help: `SIZE`, `on|off`. */
  readonly placeholder: string
  readonly doc: string
  /** The keys on the command line. Defaults to the parameter's own name. */
  readonly keys?: readonly string[]
  readonly required?: boolean
  readonly default?: T
  /** The parameter takes a bare word (nbdkit(1), "Magic parameters"). */
  readonly magic?: boolean
  /** The layer turns the text into bytes itself, so the text need not be UTF-8 (byte-text.ts). */
  readonly bytes?: boolean
  /** No message shows the value. */
  readonly secret?: boolean
  /** The key may be given several times: the values are a list. */
  readonly repeatable?: boolean
  /** Takes each `key=value` that no layer declares, by key. */
  readonly others?: boolean
  /** Takes each `key=value` that no layer declares, and each further bare word, in order. */
  readonly settings?: boolean
  /** Parses text from a command line. Throws an error that says what is wrong. */
  parse(text: string): T
  /** Checks a value given in code. */
  check(value: unknown): T
}
export type Params = Readonly<Record<string, Param>>

/** A setting for a layer that runs another program: `key=value`, or a bare word where there is no key. */
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
type IsRequired<X> = X extends { required: true } ? true : false

/** The values that `setup` receives. */
export type Values<P extends Params> = {
  readonly [K in keyof P]: Certain<P[K]> extends true ? ValueOf<P[K]> : ValueOf<P[K]> | undefined
}
/**
 * The inputs that a caller gives in code: a value, or its text as on the command line. Mapped from `keyof P`,
 * so that an editor shows the text of each parameter.
 */
export type Inputs<P extends Params> = {
  readonly [K in keyof P as IsRequired<P[K]> extends true ? K : never]: ValueOf<P[K]> | string
} & {
  readonly [K in keyof P as IsRequired<P[K]> extends true ? never : K]?: ValueOf<P[K]> | string | undefined
}

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
const isStrings = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every(isString)
const isSettings = (value: unknown): value is readonly Setting[] =>
  Array.isArray(value) &&
  value.every((one) => Array.isArray(one) && (one[0] === undefined || isString(one[0])) && isString(one[1]))
const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean'

/** The kinds of parameters. The syntax is nbdkit's (nbdkit-plugin(3), "Parsing command line parameters"). */
export const param = {
  /** A size in bytes: `1G` on the command line, a number in code. */
  size: make(
    'SIZE',
    parseSize,
    expect('bytes as a number', isNumber, (n) => checkRange(n, 0, Number.MAX_SAFE_INTEGER)),
  ),
  /** A time: milliseconds in code; on the command line seconds, or a number with a unit (`10ms`). */
  delay: make('TIME', parseDelay, expect('milliseconds as a number', isNumber, checkDelay)),
  /** A number from 0 to 1; on the command line also `10%` and `1:10`. */
  probability: make('PROBABILITY', parseProbability, expect('a number', isNumber, checkProbability)),
  boolean: make('BOOL', parseBoolean, expect('a boolean', isBoolean)),
  string: make('STRING', (text) => text, expect('a string', isString)),
  /** Texts under one key, which may be given several times. They are in the order given. */
  strings<const O extends Options<readonly string[]>>(options: O): Param<readonly string[]> & O {
    return {
      placeholder: 'STRING',
      repeatable: true,
      parse: (text) => [text],
      check: expect('an array of texts', isStrings),
      ...options,
    }
  },
  /**
   * Values under keys that the user chooses: by key, the text of each `key=value` that no layer declares.
   * `keys` is what the help shows for them.
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
   * Settings for another program, which alone knows them: pairs of key and value in the order given. Any key
   * may repeat. `Object.entries({ file: 'disk.img' })` gives such pairs.
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
  /** A file name, made absolute at once, because a server may change its directory later. */
  path: make('PATH', absolute, expect('a path', isString, absolute)),
  /**
   * `-`, `-FD` and `+FILE` read the password from elsewhere. A value in code is handled as on a command line.
   */
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
  /** The number of a file descriptor, at least `min`. On the command line it must be inherited. */
  descriptor<const O extends Options<number> & { min?: number }>(options: O): Param<number> & O {
    const inRange = (fd: number) => checkRange(fd, options.min ?? 0, descriptorMax)
    return {
      placeholder: 'FD',
      parse: (text) => parseDescriptor(text, options.min ?? 0),
      check: expect('a number', isNumber, inRange),
      ...options,
    }
  },
  /**
   * One of a few words. `also` lists other spellings, which are not shown. `anyCase` ignores case, as in
   * `TIME`.
   */
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

/** The keys of a parameter on the command line. */
export function keysOf(name: string, parameter: Param): readonly string[] {
  return parameter.keys ?? [name]
}

/**
 * Turns a user's inputs into the values for `setup`.
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

/** @throws Error for a text that is not UTF-8 where the layer would change its bytes. */
function resolveValue({ parse, check, bytes, others, settings, repeatable }: Param, input: unknown): unknown {
  if (!bytes && typeof input === 'string') requireUtf8(input)
  if (!bytes && (others || settings || repeatable)) for (const text of textsIn(input)) requireUtf8(text)
  const value = typeof input === 'string' ? parse(input) : check(input)
  // The path may have gained a directory whose name is not UTF-8.
  if (!bytes && typeof value === 'string') requireUtf8(value)
  return value
}

/** The texts of values by key, or of a list of pairs. */
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
