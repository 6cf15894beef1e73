/**
 * Programs that were started, each as the leader of a process group of its own (`detached`): none of them,
 * and nothing that they have started, outlives us.
 */
import type { ChildProcess } from 'node:child_process'
import { Watchdog } from './watchdog.js'

/** The groups that may have a process in them. */
const running = new Set<number>()
/** Those whose leader has ended, and which were not empty then. */
const left = new Set<number>()
/** How often it is looked whether what was left has ended, in ms. */
const lookMs = 1000

let watchdog: Watchdog | undefined
let looking: NodeJS.Timeout | undefined

process.on('exit', () => {
  for (const group of running) kill(group)
})

/**
 * Call before a program is started: to start the watchdog takes so long that a program could be left behind
 * meanwhile.
 */
export function expectProgram(): void {
  watchdog ??= new Watchdog()
}

/** Sees to it that a program ends with us, at the latest. Call what it gives when it has ended. */
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

/** Kills a program, and what it has started. */
export function killGroup({ pid: group }: ChildProcess): void {
  if (group !== undefined) kill(group)
}

function kill(group: number): void {
  try {
    process.kill(-group, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}

/** The number of a group is no other's before it is empty. */
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

/** A script may leave something in the background. It is looked at until it has ended. */
function leave(group: number): void {
  left.add(group)
  looking ??= setInterval(() => {
    for (const one of left) if (isEmpty(one)) forget(one)
    if (left.size > 0) return
    clearInterval(looking)
    looking = undefined
  }, lookMs).unref()
}
