/**
 * Starts other programs as Node's `spawn` does, but keeps all bytes of words and variables. Node encodes them
 * as UTF-8, which changes other bytes. Where there are such bytes, a shell builds the words from octal
 * numbers and then becomes the program.
 */
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { bytesOfText, isUtf8 } from '../api/byte-text.js'
import { bytesOfEnvironment } from './environment.js'

/** @param args may contain bytes outside UTF-8, as texts (api/byte-text.ts). So may `options.env`. */
export function spawn(file: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  // Loaded on demand: most servers start no program, and a start is 3 ms shorter without this module of Node.
  const { spawn: spawnUtf8 } = process.getBuiltinModule('node:child_process')
  const pairs = bytesOfEnvironment(options.env ?? process.env)
  const plain = pairs.filter((pair) => pair.every(isUtf8))
  const env = Object.fromEntries(plain)
  if (plain.length === pairs.length && [file, ...args].every(isUtf8))
    return spawnUtf8(file, args, { ...options, env })
  const script = restoring(
    [file, ...args],
    pairs.filter((pair) => !pair.every(isUtf8)),
  )
  return spawnUtf8('/bin/sh', ['-c', script, ...[file, ...args].filter(isUtf8)], { ...options, env })
}

/** The words in UTF-8 are the arguments of the script, from `$0` on. */
function restoring(words: readonly string[], variables: readonly (readonly [string, string])[]): string {
  const lines: string[] = []
  let plain = 0
  const own = words.map((word, index) => {
    if (isUtf8(word)) return `"\${${plain++}}"`
    lines.push(assignment(`nbdkit_ts_${index}`, word))
    return `"$nbdkit_ts_${index}"`
  })
  // A name that no shell accepts cannot be passed on: the program starts without the variable.
  for (const [name, value] of variables)
    if (/^[a-z_]\w*$/i.test(name)) lines.push(assignment(name, value), `export ${name}`)
  return [...lines, `exec ${own.join(' ')}`].join('\n')
}

/**
 * Command substitution strips newlines at the end, so the text ends with a dot, which is removed afterwards.
 */
function assignment(name: string, text: string): string {
  const octal = Array.from(bytesOfText(text), (byte) => `\\${byte.toString(8).padStart(3, '0')}`)
  return `${name}=$(printf '${octal.join('')}.'); ${name}=\${${name}%.}`
}
