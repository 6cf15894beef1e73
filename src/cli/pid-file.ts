/** `--pidfile`: where others read our process id from, once clients can connect. */
import { accessSync, constants, existsSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { ConfigError, messageOf } from '../api/errors.js'

/**
 * Asks the system whether the file could be written, and makes nothing: that it appears says that we are
 * ready.
 *
 * @throws ConfigError when it could not.
 */
export function checkPidFile(path: string): void {
  tell(() => {
    if (!existsSync(path)) return accessSync(dirname(path), constants.W_OK | constants.X_OK)
    if (statSync(path).isDirectory()) throw new Error(`${path} is a directory`)
    accessSync(path, constants.W_OK)
  })
}

/** @throws ConfigError when it cannot be written; then nothing of it is left. */
export function writePidFile(path: string): void {
  tell(() => {
    try {
      writeFileSync(path, `${process.pid}\n`)
    } catch (error) {
      removePidFile(path)
      throw error
    }
  })
}

/** For a start that failed after it was written. */
export function removePidFile(path: string): void {
  try {
    if (statSync(path).isFile()) unlinkSync(path)
  } catch {
    // It is gone, or somebody else's by now.
  }
}

function tell(act: () => void): void {
  try {
    act()
  } catch (error) {
    throw new ConfigError(`--pidfile: ${messageOf(error)}`, { cause: error })
  }
}
