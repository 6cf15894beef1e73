import { closeSync, openSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError, messageOf } from '../api/errors.js'
import { utf8Variable } from './environment.js'

/**
 * Opens a file that has no name, so that nothing is left of it when the process ends. It lies in TMPDIR, else
 * in /var/tmp, as nbdkit's do: /tmp is often memory. Close the descriptor with `closeSync`.
 *
 * @throws ConfigError that names the directory, where no file can be made there.
 */
export function openTemporaryFile(): number {
  const directory = utf8Variable('TMPDIR') || '/var/tmp'
  const { randomUUID } = process.getBuiltinModule('node:crypto')
  const path = join(directory, `nbdkit-ts-${randomUUID()}`)
  try {
    const fd = openSync(path, 'wx+', 0o600)
    try {
      unlinkSync(path)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    return fd
  } catch (error) {
    throw new ConfigError(`no temporary file can be made in ${directory}: ${messageOf(error)}: set TMPDIR`, {
      cause: error,
    })
  }
}
