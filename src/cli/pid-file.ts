/** `--pidfile`: where others read our process id from, once clients can connect. */
import { accessSync, constants, existsSync, statSync, unlinkSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fsPath } from '../api/byte-text.js'
import { ConfigError, messageOf } from '../api/errors.js'

/**
 * Asks the system whether the file could be written, and makes nothing: that it appears says that we are
 * ready.
 *
 * @throws ConfigError when it could not.
 */
export function checkPidFile(path: string): void {
  tell(() => {
    const file = fsPath(path)
    if (!existsSync(file)) return accessSync(fsPath(dirname(path)), constants.W_OK | constants.X_OK)
    if (statSync(file).isDirectory()) throw new Error(`${path} is a directory`)
    accessSync(file, constants.W_OK)
  })
}

/** @throws ConfigError when it cannot be written; then nothing of it is left. */
export async function writePidFile(path: string): Promise<void> {
  try {
    await writeFile(fsPath(path), `${process.pid}\n`)
  } catch (error) {
    removePidFile(path)
    throw told(error)
  }
}

/** For a start that failed after it was written. */
export function removePidFile(path: string): void {
  try {
    if (statSync(fsPath(path)).isFile()) unlinkSync(fsPath(path))
  } catch {
    // It is gone, or somebody else's by now.
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
