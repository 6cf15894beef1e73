/** The files of a directory as exports: those directly inside, also through symbolic links. */
import { opendir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fsPath } from '../../api/byte-text.js'
import { NbdError } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import type { Export } from '../../api/plugin.js'
import { codeOf } from '../../lib/file-bytes.js'
import { isRemotePath } from '../../os/file-system.js'
import { type OpenFile, openPath, whyNot } from './open-file.js'

/** The most names listed to a client. This bounds the memory for the names of a larger directory. */
const namesMax = 10_000
/** Entries read at once. Other work runs between two batches. */
const batch = 256

/**
 * The files of a directory, sorted by name; the first names where there are too many. Concurrent clients
 * share a list, which is never older than their requests.
 */
export class DirectoryList {
  readonly #directory: string
  #running: Promise<unknown> = Promise.resolve()
  /** The next list, which has not started. */
  #next: Promise<readonly Export[]> | undefined

  constructor(directory: string) {
    this.#directory = directory
  }

  read(): Promise<readonly Export[]> {
    if (this.#next === undefined) {
      const list = this.#running.then(() => {
        this.#next = undefined
        return listFiles(this.#directory)
      })
      this.#next = list
      this.#running = list.catch(() => {})
    }
    return this.#next
  }
}

export async function listFiles(directory: string): Promise<readonly Export[]> {
  let names = new Set<string>()
  for await (const entries of batches(directory)) {
    const served = await Promise.all(
      entries.map(({ name, isFile }) =>
        // Node's decoding of a name that is not UTF-8 names no existing file.
        isFile && !name.includes('\ufffd') ? true : isServed(join(directory, name)),
      ),
    )
    for (const [index, { name }] of entries.entries()) if (served[index]) names.add(name)
    if (names.size > 2 * namesMax) names = new Set(first(names))
  }
  return first(names).map((name) => ({ name }))
}

function first(names: ReadonlySet<string>): string[] {
  return [...names].sort().slice(0, namesMax)
}

interface Entry {
  readonly name: string
  readonly isFile: boolean
}

async function* batches(directory: string): AsyncGenerator<Entry[]> {
  try {
    let entries: Entry[] = []
    for await (const entry of entriesOf(directory)) {
      entries.push(entry)
      if (entries.length < batch) continue
      yield entries
      entries = []
    }
    yield entries
  } catch (error) {
    throw new NbdError('EIO', `the directory cannot be listed: ${codeOf(error)}`, { cause: error })
  }
}

/**
 * Yields the entries of a directory. Where a file system does not report the kind of an entry, Node calls
 * stat on the event loop, so a remote file system is only asked for names.
 */
async function* entriesOf(directory: string): AsyncGenerator<Entry> {
  if (await isRemotePath(fsPath(directory)))
    for (const name of await readdir(fsPath(directory))) yield { name, isFile: false }
  else
    for await (const entry of await opendir(fsPath(directory), { bufferSize: batch }))
      yield { name: entry.name, isFile: entry.isFile() }
}

/** False also for a file that has vanished, and for a dangling symbolic link. */
async function isServed(path: string): Promise<boolean> {
  try {
    return whyNot(await stat(fsPath(path))) === undefined
  } catch {
    return false
  }
}

/**
 * Opens the file that a client named. It must lie in the directory, but may be a symbolic link to elsewhere.
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
