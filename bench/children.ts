/** Programs and files of a run. None of them stays behind, however the run ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const alive = new Set<ChildProcess>()
/** Process ids of programs that went into the background. */
const adopted = new Set<number>()
const folders = new Set<string>()

/** Cleans everything up at the end, also after Ctrl-C. Call this once. */
export function cleanUpAtTheEnd(): void {
  process.on('exit', () => {
    for (const child of alive) child.kill('SIGKILL')
    for (const pid of adopted) kill(pid, 'SIGKILL')
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => process.exit(128 + constants.signals[signal]))
  // The shell that npm puts in between dies of a signal without passing it on.
  const parent = process.ppid
  setInterval(() => process.ppid === parent || process.exit(1), 500).unref()
}

/** Makes a new folder. It is removed at the end, or earlier with `removeFolder`. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'nbdkit-ts-bench-'))
  folders.add(folder)
  return folder
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  folders.delete(folder)
}

/** A running program. */
export interface Child {
  readonly process: ChildProcess
  readonly pid: number
  readonly stdout: () => string
  /** Resolves when the program has ended: undefined for status 0, otherwise what went wrong. */
  readonly ended: Promise<string | undefined>
}

/** Starts a program. `path` is for the system, `name` for messages. */
export function launch(name: string, path: string, args: readonly string[]): Child {
  const child = spawn(path, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  })
  alive.add(child)
  // The program may end without reading its input.
  child.stdin.on('error', () => {})
  const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    return () => Buffer.concat(chunks).toString()
  })
  const ended = once(child, 'close')
    .then(
      ([status, signal]) => {
        if (status === 0) return undefined
        const how = signal === null ? `ended with status ${status}` : `was killed by ${signal}`
        return `${name} ${how}${lastLine(stderr?.() ?? '')}`
      },
      (error: Error) => `${name} could not be started: ${error.message}`,
    )
    .finally(() => alive.delete(child))
  return { process: child, pid: child.pid ?? 0, stdout: () => stdout?.() ?? '', ended }
}

function lastLine(text: string): string {
  const line = text.trim().split('\n').at(-1) ?? ''
  return line === '' ? '' : `: ${line}`
}

/** Runs a program that must end with status 0, and returns its output. */
export async function run(
  name: string,
  path: string,
  args: readonly string[],
  timeoutMs = 120_000,
): Promise<string> {
  const child = launch(name, path, args)
  child.process.stdin?.end()
  const wrong = await within(child, timeoutMs)
  if (wrong !== undefined) throw new Error(wrong)
  return child.stdout()
}

/** Waits for the end of a program. Kills it when it takes too long. */
async function within(child: Child, timeoutMs: number): Promise<string | undefined> {
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    child.process.kill('SIGKILL')
  }, timeoutMs)
  const wrong = await child.ended
  clearTimeout(timer)
  return isLate ? `${wrong}: it took more than ${timeoutMs / 1000} s` : wrong
}

/** Asks a program to stop, and waits until it has. */
export async function stop(child: Child): Promise<void> {
  child.process.kill('SIGTERM')
  await within(child, 10_000)
}

/** Watches over a program that went into the background. Returns a function that stops it. */
export function adopt(pid: number): () => Promise<void> {
  adopted.add(pid)
  return async () => {
    kill(pid, 'SIGTERM')
    for (let waitedMs = 0; isAlive(pid) && waitedMs < 10_000; waitedMs += 20) await sleep(20)
    if (isAlive(pid)) kill(pid, 'SIGKILL')
    adopted.delete(pid)
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // The process has ended already.
  }
}

/** A zombie counts as ended: it has ended, but its parent has not asked for its status. */
function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Resolves with the first line of a program's output. Rejects when the program ends before. */
export async function firstLine(child: Child, timeoutMs: number): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs)
  })
  const line = (async () => {
    while (!child.stdout().includes('\n')) await once(child.process.stdout ?? child.process, 'data')
    return child.stdout().split('\n')[0] ?? ''
  })()
  const end = child.ended.then((wrong) => Promise.reject(new Error(wrong ?? 'it ended before it answered')))
  try {
    return await Promise.race([line, end, late])
  } finally {
    clearTimeout(timer)
  }
}
