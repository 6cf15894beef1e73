/** The files of a directory as exports: those directly inside, also through symbolic links. */
import { opendir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fsPath } from '../../api/byte-text.js'
import { NbdError } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import type { Export } from '../../api/plugin.js'
import { inPieces } from '../../api/turns.js'
import { isRemotePath } from '../../lib/file-system.js'
import { codeOf } from './bytes.js'
import { type OpenFile, openPath, whyNot } from './open-file.js'

/** Sorted by name. */
export async function listFiles(directory: string): Promise<Export[]> {
  const names: string[] = []
  try {
    // What is not UTF-8 was replaced: no client could ask for that name.
    for await (const { name, isFile } of entriesOf(directory))
      if (!name.includes('\ufffd') && (isFile || (await isServed(join(directory, name))))) names.push(name)
  } catch (error) {
    throw new NbdError('EIO', `the directory cannot be listed: ${codeOf(error)}`, { cause: error })
  }
  return (await sorted(names)).map((name) => ({ name }))
}

/** So many names are sorted, or merged, in a row: to sort 100,000 takes 50 ms. */
const stepNames = 1024

async function sorted(names: readonly string[]): Promise<readonly string[]> {
  let runs: string[][] = []
  await inPieces(0, names.length, stepNames, (at, count) => {
    runs.push(names.slice(at, at + count).sort())
  })
  while (runs.length > 1) {
    const longer: string[][] = []
    for (let index = 0; index < runs.length; index += 2)
      longer.push(await merged(runs[index] ?? [], runs[index + 1] ?? []))
    runs = longer
  }
  return runs[0] ?? []
}

/** Of two sorted lists, one. */
async function merged(first: readonly string[], second: readonly string[]): Promise<string[]> {
  const all: string[] = []
  const rest = [first.values(), second.values()] as const
  let [a, b] = [rest[0].next(), rest[1].next()]
  await inPieces(0, first.length + second.length, stepNames, (_, count) => {
    for (let taken = 0; taken < count; taken++)
      if (!a.done && (b.done || a.value <= b.value)) {
        all.push(a.value)
        a = rest[0].next()
      } else if (!b.done) {
        all.push(b.value)
        b = rest[1].next()
      }
  })
  return all
}

/** So many entries are read in a row. A directory of 100,000, read at once, would hold up everybody. */
const batchEntries = 256

/**
 * Where a file system does not tell what an entry is, Node looks, on the event loop. Of a remote one nothing
 * but the names is asked.
 */
async function* entriesOf(directory: string): AsyncGenerator<{ name: string; isFile: boolean }> {
  if (await isRemotePath(fsPath(directory)))
    for (const name of await readdir(fsPath(directory))) yield { name, isFile: false }
  else
    for await (const entry of await opendir(fsPath(directory), { bufferSize: batchEntries }))
      yield { name: entry.name, isFile: entry.isFile() }
}

/** False also for what went away meanwhile, and for a symbolic link to nothing. */
async function isServed(path: string): Promise<boolean> {
  try {
    return whyNot(await stat(fsPath(path))) === undefined
  } catch {
    return false
  }
}

/**
 * Opens the file that a client asked for by name: none outside of the directory, unless a symbolic link says
 * so.
 *
 * @throws NbdError
 */
export async function openNamed(
  directory: string,
  name: string,
  readOnly: boolean,
  log: Log,
): Promise<OpenFile> {
  if (name === '') throw new NbdError('EINVAL', 'there is no default export: ask for a file by its name')
  if (name.includes('/') || name.includes('\0') || name === '.' || name === '..')
    throw new NbdError('EINVAL', `export name ${JSON.stringify(name)} is not the name of a file`)
  return openPath(join(directory, name), `export ${JSON.stringify(name)}`, readOnly, log)
}
