/** The files of a directory as exports: those directly inside, also through symbolic links. */
import { opendir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fsPath } from '../../api/byte-text.js'
import { NbdError } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import type { Export } from '../../api/plugin.js'
import { isRemotePath } from '../../lib/file-system.js'
import { codeOf } from './bytes.js'
import { type OpenFile, openPath, whyNot } from './open-file.js'

/** More are never listed to a client; the memory for the names of a larger directory is bounded. */
const namesMax = 10_000
/** Entries that the system is asked for at once: between two times others have their turn. */
const batch = 256

/**
 * The files of a directory, sorted by name: the first of them where there are too many. Clients that ask at
 * the same time share a list, which is never older than what they asked.
 */
export class DirectoryList {
  readonly #directory: string
  #running: Promise<unknown> = Promise.resolve()
  /** Not begun yet. */
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
        // A name that is not UTF-8 is not what Node made of it: there is no such file.
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
 * Where a file system does not tell what an entry is, Node looks, on the event loop. Of a remote one nothing
 * but the names is asked.
 */
async function* entriesOf(directory: string): AsyncGenerator<Entry> {
  if (await isRemotePath(fsPath(directory)))
    for (const name of await readdir(fsPath(directory))) yield { name, isFile: false }
  else
    for await (const entry of await opendir(fsPath(directory), { bufferSize: batch }))
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
