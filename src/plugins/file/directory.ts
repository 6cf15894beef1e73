/** The files of a directory as exports: those directly inside, also through symbolic links. */
import type { Dirent } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fsPath } from '../../api/byte-text.js'
import { NbdError } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import type { Export } from '../../api/plugin.js'
import { codeOf } from './bytes.js'
import { type OpenFile, openPath, whyNot } from './open-file.js'

/** Sorted by name. */
export async function listFiles(directory: string): Promise<Export[]> {
  const entries = await entriesOf(directory)
  const served = await Promise.all(
    entries.map((entry) => entry.isFile() || isServed(join(directory, entry.name))),
  )
  const names = entries.filter((_, index) => served[index]).map((entry) => entry.name)
  return names.sort().map((name) => ({ name }))
}

async function entriesOf(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(fsPath(directory), { withFileTypes: true })
  } catch (error) {
    throw new NbdError('EIO', `the directory cannot be listed: ${codeOf(error)}`, { cause: error })
  }
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
