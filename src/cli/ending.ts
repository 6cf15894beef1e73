/** The end of the process, which nothing that hangs in it may hold up. */
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

/** How long calls of the system that nobody waits for may take until we go without them, in ms. */
const patienceMs = 1000

/**
 * Ends the process. `process.exit` alone waits for each call of the system that is out in another thread: to
 * open a FIFO that nobody writes to, or to read a disk that is gone.
 *
 * @param atOnce something is known to hang.
 */
export async function endProcess(status: number, atOnce = false): Promise<never> {
  const waitsUntil = performance.now() + patienceMs
  while (!atOnce && systemIsCalled() && performance.now() < waitsUntil) await sleep(10)
  // Behind what others do at the end, as to remove their files.
  if (atOnce || systemIsCalled()) process.once('exit', (code) => exitWithoutThreads(code))
  process.exit(status)
}

/** Something runs on the threads of libuv. */
function systemIsCalled(): boolean {
  return process.getActiveResourcesInfo().some((name) => /^(FSReq|GetAddrInfo|GetNameInfo)/.test(name))
}

function exitWithoutThreads(status: number): void {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    koffi.load(null).func('void _exit(int status)')(status)
  } catch {
    // It is optional.
  }
  // Another program in place of this one: its threads are gone then. Since Node 22.15.
  const { execve } = process as { execve?: (file: string, args: string[], env: object) => never }
  execve?.('/bin/sh', ['sh', '-c', `exit ${status}`], {})
  // The status is another, but the process ends.
  process.kill(process.pid, 'SIGKILL')
}
