/** Recognises plugins in other languages by the start of their file. */
import { closeSync, openSync, readSync } from 'node:fs'
import { extname } from 'node:path'
import { fsPath } from '../../api/byte-text.js'
import { shellQuote } from '../../lib/shell-quote.js'

/** The plugin that can load a file, and the command line word that names the file to it. */
export interface Foreign {
  readonly plugin: string
  readonly word: string
}

/** The first bytes of compiled code on Linux and macOS. */
const compiled = ['7f454c46', 'cffaedfe', 'cafebabe']

/**
 * Returns undefined for a file that can be imported. A shared object is loaded by `native`. A script names
 * its plugin in its first line, as in `#!/usr/sbin/nbdkit python` (nbdkit(1), "Shebang scripts").
 */
export function foreignPlugin(path: string): Foreign | undefined {
  const start = beginningOf(path)
  // A damaged file is still treated as a shared object: its loader reports what is wrong.
  if (compiled.includes(start.subarray(0, 4).toString('hex')) || path.endsWith('.so'))
    return { plugin: 'native', word: `plugin=${path}` }
  const [line = ''] = start.toString().split('\n', 1)
  const [, plugin] = /^#!.*\bnbdkit(?:-ts)?\s+([a-z][\w-]*)\s*$/.exec(line) ?? []
  // A script for sh is started for each request. With such a first line, each start would start a server.
  return plugin === undefined || plugin === 'sh' ? undefined : { plugin, word: `script=${path}` }
}

/** Files that Node imports, by itself or with our help. */
const importable = /\.([cm]?[jt]s|json|node|wasm)$/

/** True for a file that is no program, judging by its name and first bytes: most likely a disk. */
export function isDisk(path: string): boolean {
  if (importable.test(path)) return false
  const start = beginningOf(path)
  const isScript = start.subarray(0, 2).toString() === '#!'
  return !isScript && (extname(path) !== '' || start.length === 0 || start.includes(0))
}

/**
 * A hint for a script that names no plugin; undefined for a file that is no script, judging by its name and
 * first line.
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
