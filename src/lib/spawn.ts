/**
 * Starts other programs, as `spawn` of Node does, with all their bytes: Node encodes words and variables as
 * UTF-8, and so changes what is not. Where there is such a word, a shell makes it of octal numbers and
 * becomes the program.
 */
import { type ChildProcess, type SpawnOptions, spawn as spawnUtf8 } from 'node:child_process'
import { bytesOfText, isUtf8 } from '../api/byte-text.js'
import { bytesOfEnvironment } from './environment.js'

/** @param args may be texts that stand for other bytes (api/byte-text.ts), and so may `env` be. */
export function spawn(file: string, args: readonly string[], options: SpawnOptions): ChildProcess {
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

/** The words that are UTF-8 are the arguments of the script, from `$0` on. */
function restoring(words: readonly string[], variables: readonly (readonly [string, string])[]): string {
  const lines: string[] = []
  let plain = 0
  const own = words.map((word, index) => {
    if (isUtf8(word)) return `"\${${plain++}}"`
    lines.push(assignment(`nbdkit_ts_${index}`, word))
    return `"$nbdkit_ts_${index}"`
  })
  // A name that no shell takes has no way through one: the program goes without it.
  for (const [name, value] of variables)
    if (/^[a-z_]\w*$/i.test(name)) lines.push(assignment(name, value), `export ${name}`)
  return [...lines, `exec ${own.join(' ')}`].join('\n')
}

/** What is substituted loses the newlines at its end, so there is a dot behind them. */
function assignment(name: string, text: string): string {
  const octal = Array.from(bytesOfText(text), (byte) => `\\${byte.toString(8).padStart(3, '0')}`)
  return `${name}=$(printf '${octal.join('')}.'); ${name}=\${${name}%.}`
}
