/** Programs that were started, each as the leader of a process group of its own (`detached`). */
import type { ChildProcess } from 'node:child_process'

/** Those that run: none of them outlives us. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) killGroup(child)
})

/** Sees to it that a program ends with us, at the latest. Call what it gives when it has ended. */
export function started(child: ChildProcess): () => void {
  running.add(child)
  return () => {
    running.delete(child)
  }
}

/** Kills a program, and what it has started. */
export function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}
