/** Installs Debian packages, for users who may do that. */
import { spawnSync } from 'node:child_process'

/** @throws Error with the whole output of apt-get. */
export function aptGet(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' }
  const all = ['--quiet', '--yes', ...args]
  const { status, error, stdout, stderr } = spawnSync('apt-get', all, {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 2 ** 26,
  })
  if (error) throw error
  if (status !== 0)
    throw new Error(`apt-get ${all.join(' ')} ended with status ${status}:\n${stdout}${stderr}`)
}
