/** `--pidfile`: a file with our process id, written once clients can connect. */
import { accessSync, constants, existsSync, statSync, unlinkSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fsPath } from '../../api/byte-text.js'
import { ConfigError, messageOf } from '../../api/errors.js'

/**
 * Checks with the system whether the file can be written, without creating it: its appearance signals that we
 * are ready.
 *
 * @throws ConfigError when it cannot be written.
 */
export function checkPidFile(path: string): void {
  tell(() => {
    const file = fsPath(path)
    if (!existsSync(file)) return accessSync(fsPath(dirname(path)), constants.W_OK | constants.X_OK)
    if (statSync(file).isDirectory()) throw new Error(`${path} is a directory`)
    accessSync(file, constants.W_OK)
  })
}

/** @throws ConfigError when the file cannot be written. No part of it is then left. */
export async function writePidFile(path: string): Promise<void> {
  try {
    await writeFile(fsPath(path), `${process.pid}\n`)
  } catch (error) {
    removePidFile(path)
    throw told(error)
  }
}

/** Removes the file after a start that failed later. */
export function removePidFile(path: string): void {
  try {
    if (statSync(fsPath(path)).isFile()) unlinkSync(fsPath(path))
  } catch {
    // The file is gone, or belongs to somebody else by now.
  }
}

function tell(act: () => void): void {
  try {
    act()
  } catch (error) {
    throw told(error)
  }
}

function told(error: unknown): ConfigError {
  return new ConfigError(`--pidfile: ${messageOf(error)}`, { cause: error })
}
