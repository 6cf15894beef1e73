/** `--exit-with-parent`: Linux sends a signal when the parent ends (prctl(2), `PR_SET_PDEATHSIG`). */
import { constants } from 'node:os'
import { ConfigError } from '../api/errors.js'

const setParentDeathSignal = 1

/**
 * Requests SIGTERM, and so a clean shutdown, when the parent ends.
 *
 * @throws ConfigError on another system, or without the package koffi.
 */
export async function exitWithParent(): Promise<void> {
  if (process.platform !== 'linux')
    throw new ConfigError(`--exit-with-parent works on Linux only, and this is ${process.platform}`)
  const parent = process.ppid
  const { default: koffi } = await import('koffi').catch((error: unknown) => {
    throw new ConfigError('--exit-with-parent needs the package koffi: "npm install koffi"', { cause: error })
  })
  const prctl = koffi.load(null).func('int prctl(int option, ulong signal)')
  if (prctl(setParentDeathSignal, constants.signals.SIGTERM) !== 0)
    throw new ConfigError('--exit-with-parent: the system refuses it (prctl)')
  // The parent may have ended before the request. Then no signal comes.
  if (process.ppid !== parent) process.kill(process.pid, 'SIGTERM')
}
