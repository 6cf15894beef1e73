/** `--exit-with-parent`: Linux sends a signal when the parent ends (prctl(2), `PR_SET_PDEATHSIG`). */
import { constants } from 'node:os'
import { ConfigError } from '../../api/errors.js'
import { type Koffi, loadKoffi } from '../../os/koffi.js'

const setParentDeathSignal = 1

/**
 * Requests SIGTERM, and so a clean shutdown, when the parent ends.
 *
 * @throws ConfigError on another system, or without the package koffi.
 */
export function exitWithParent(): void {
  if (process.platform !== 'linux')
    throw new ConfigError(`--exit-with-parent works on Linux only, and this is ${process.platform}`)
  const parent = process.ppid
  const prctl = koffiFor('--exit-with-parent').load(null).func('int prctl(int option, ulong signal)')
  if (prctl(setParentDeathSignal, constants.signals.SIGTERM) !== 0)
    throw new ConfigError('--exit-with-parent: the system refuses it (prctl)')
  // The parent may have ended before the request. Then no signal comes.
  if (process.ppid !== parent) process.kill(process.pid, 'SIGTERM')
}

function koffiFor(option: string): Koffi {
  try {
    return loadKoffi()
  } catch (error) {
    throw new ConfigError(`${option} needs the package koffi: "npm install koffi"`, { cause: error })
  }
}
