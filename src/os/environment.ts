/**
 * The environment that the process was started with, byte for byte. Node's copy has lost the bytes that are
 * not UTF-8.
 */
import { readFileSync } from 'node:fs'
import { isUtf8, requireUtf8, splitAtNul, textOfBytes } from '../api/byte-text.js'
import { ConfigError, messageOf } from '../api/errors.js'

interface Variable {
  readonly name: string
  readonly value: string
  /** The value as Node decodes it. */
  readonly decoded: string
}

/** Variables whose name or value is not UTF-8, by the name in Node's environment. Read once. */
let strays: ReadonlyMap<string, Variable> | undefined

function strayVariables(): ReadonlyMap<string, Variable> {
  strays ??= new Map(
    initialVariables().flatMap((pair) => {
      const equals = pair.indexOf('=')
      const [name, value] = [textOfBytes(pair.subarray(0, equals)), textOfBytes(pair.subarray(equals + 1))]
      if (equals < 0 || isUtf8(name + value)) return []
      const decoded = pair.subarray(equals + 1).toString()
      return [[pair.subarray(0, equals).toString(), { name, value, decoded }]]
    }),
  )
  return strays
}

function initialVariables(): Buffer[] {
  const mayBeStray = ([name, value = '']: [string, string | undefined]) => (name + value).includes('\ufffd')
  if (process.platform !== 'linux' || !Object.entries(process.env).some(mayBeStray)) return []
  return splitAtNul(readFileSync('/proc/self/environ'))
}

/** The value of a variable, as text that keeps its bytes (api/byte-text.ts). */
export function environmentVariable(name: string): string | undefined {
  if (!Object.hasOwn(process.env, name)) return undefined
  return bytesOfVariable(name, process.env[name])?.[1]
}

/** @throws ConfigError that names the variable, where its value is not UTF-8. */
export function utf8Variable(name: string): string | undefined {
  const value = environmentVariable(name)
  try {
    return value === undefined ? undefined : requireUtf8(value)
  } catch (error) {
    throw new ConfigError(`the environment variable ${name}: ${messageOf(error)}`, { cause: error })
  }
}

/** The environment for a new process, as pairs of texts that keep their bytes. */
export function bytesOfEnvironment(env: NodeJS.ProcessEnv): readonly Pair[] {
  return Object.entries(env).flatMap(([name, value]) => {
    const pair = bytesOfVariable(name, value)
    return pair === undefined ? [] : [pair]
  })
}

type Pair = readonly [name: string, value: string]

function bytesOfVariable(name: string, value: string | undefined): Pair | undefined {
  if (value === undefined) return undefined
  const stray = strayVariables().get(name)
  // A variable that was set since has another value.
  return stray?.decoded === value ? [stray.name, stray.value] : [name, value]
}
