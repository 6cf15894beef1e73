/** Plugins in other languages, by what their file begins with. */
import { closeSync, openSync, readSync } from 'node:fs'
import { extname } from 'node:path'
import { fsPath } from '../api/byte-text.js'
import { shellQuote } from '../lib/shell-quote.js'

/** The plugin that knows how to load a file, and the word of the command line that names the file to it. */
export interface Foreign {
  readonly plugin: string
  readonly word: string
}

/** What Linux and macOS put before compiled code. */
const compiled = ['7f454c46', 'cffaedfe', 'cafebabe']

/**
 * Undefined for a file that can be imported. A shared object is `native`; a script names its plugin in its
 * first line, as in `#!/usr/sbin/nbdkit python` (nbdkit(1), "Shebang scripts").
 */
export function foreignPlugin(path: string): Foreign | undefined {
  const start = beginningOf(path)
  // One that is damaged is a shared object all the same: who loads it says what is wrong.
  if (compiled.includes(start.subarray(0, 4).toString('hex')) || path.endsWith('.so'))
    return { plugin: 'native', word: `plugin=${path}` }
  const [line = ''] = start.toString().split('\n', 1)
  const [, plugin] = /^#!.*\bnbdkit(?:-ts)?\s+([a-z][\w-]*)\s*$/.exec(line) ?? []
  // A script of sh is started for each request: one that begins like this would start a server for each.
  return plugin === undefined || plugin === 'sh' ? undefined : { plugin, word: `script=${path}` }
}

/** What Node imports, by itself or with our help. */
const importable = /\.([cm]?[jt]s|json|node|wasm)$/

/** A file that is no program, as far as its name and its first bytes tell: a disk, most likely. */
export function isDisk(path: string): boolean {
  if (importable.test(path)) return false
  const start = beginningOf(path)
  const isScript = start.subarray(0, 2).toString() === '#!'
  return !isScript && (extname(path) !== '' || start.length === 0 || start.includes(0))
}

/**
 * What to do with a script that names no plugin, as a hint; undefined for a file that is none, as far as its
 * name and its first line tell.
 */
export function scriptHint(path: string, word: string): string | undefined {
  const [line = ''] = beginningOf(path).toString().split('\n', 1)
  if (importable.test(path) || !(line.startsWith('#!') || /\.(sh|bash|py|pl|rb|tcl|lua)$/.test(path)))
    return undefined
  const isPython = path.endsWith('.py') || /^#!.*\bpython/.test(line)
  return isPython
    ? `its first line names no plugin: try "nbdkit-ts python ${shellQuote(word)}", or begin it with ` +
        '"#!/usr/bin/env -S nbdkit-ts python"'
    : `its first line names no plugin: try "nbdkit-ts sh ${shellQuote(word)}"`
}

function beginningOf(path: string): Buffer {
  const fd = openSync(fsPath(path), 'r')
  try {
    const start = Buffer.alloc(256)
    return start.subarray(0, readSync(fd, start))
  } finally {
    closeSync(fd)
  }
}
