/** Ends the process even where something hangs in it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { loadKoffi } from '../../os/koffi.js'

/** How long to wait for system calls that nobody awaits, in ms. */
const patienceMs = 1000

/**
 * Ends the process. `process.exit` alone waits for each system call in another thread, such as opening a FIFO
 * without a writer, or reading a disk that is gone.
 *
 * @param atOnce something is known to hang.
 */
export async function endProcess(status: number, atOnce = false): Promise<never> {
  const waitsUntil = performance.now() + patienceMs
  while (!atOnce && systemIsCalled() && performance.now() < waitsUntil) await sleep(10)
  // Runs after other exit handlers, such as those that remove files.
  if (atOnce || systemIsCalled()) process.once('exit', (code) => exitWithoutThreads(code))
  process.exit(status)
}

/** True while libuv's threads are working. */
function systemIsCalled(): boolean {
  return process.getActiveResourcesInfo().some((name) => /^(FSReq|GetAddrInfo|GetNameInfo)/.test(name))
}

function exitWithoutThreads(status: number): void {
  try {
    loadKoffi().load(null).func('void _exit(int status)')(status)
  } catch {
    // koffi is optional.
  }
  // Replaces the process with another program, which ends all threads. Available since Node 22.15.
  const { execve } = process as { execve?: (file: string, args: string[], env: object) => never }
  execve?.('/bin/sh', ['sh', '-c', `exit ${status}`], {})
  // The exit status differs, but the process ends.
  process.kill(process.pid, 'SIGKILL')
}
