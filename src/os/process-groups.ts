/**
 * Programs that were started, each as the leader of its own process group (`detached`). Neither they nor
 * anything they started outlives this process.
 */
import type { ChildProcess } from 'node:child_process'
import { Watchdog } from './watchdog.js'

/** Groups that may contain a process. */
const running = new Set<number>()
/** Groups whose leader has ended, but which were not empty then. */
const left = new Set<number>()
/** Time between two checks of the groups that were left, in ms. */
const lookMs = 1000

let watchdog: Watchdog | undefined
let looking: NodeJS.Timeout | undefined

process.on('exit', () => {
  for (const group of running) kill(group)
})

/**
 * Starts the watchdog. Call this before starting a program: the watchdog starts so slowly that the program
 * could be left behind meanwhile.
 */
export function expectProgram(): void {
  watchdog ??= new Watchdog()
}

/**
 * Ensures that a program ends with this process at the latest. Call the returned function when the program
 * has ended.
 */
export function started({ pid: group }: ChildProcess): () => void {
  if (group === undefined) return () => {}
  running.add(group)
  expectProgram()
  watchdog?.watch(group)
  return () => {
    if (isEmpty(group)) forget(group)
    else leave(group)
  }
}

/** Kills a program and everything it started. */
export function killGroup({ pid: group }: ChildProcess): void {
  if (group !== undefined) kill(group)
}

function kill(group: number): void {
  try {
    process.kill(-group, 'SIGKILL')
  } catch {
    // The group has ended already.
  }
}

/** The number of a group is not reused before the group is empty. */
function isEmpty(group: number): boolean {
  try {
    process.kill(-group, 0)
    return false
  } catch {
    return true
  }
}

function forget(group: number): void {
  running.delete(group)
  left.delete(group)
  watchdog?.forget(group)
}

/** A script may leave a process in the background. Its group is checked until it is empty. */
function leave(group: number): void {
  left.add(group)
  looking ??= setInterval(() => {
    for (const one of left) if (isEmpty(one)) forget(one)
    if (left.size > 0) return
    clearInterval(looking)
    looking = undefined
  }, lookMs).unref()
}
