/** Runs a program once: passes it input and collects its output. */
import type { ChildProcess } from 'node:child_process'
import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { libc } from '../../os/libc.js'
import { expectProgram, killGroup, started } from '../../os/process-groups.js'
import { spawn } from '../../os/spawn.js'

export interface Program {
  readonly file: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly input?: Uint8Array
  /** The most bytes of output allowed: a program that prints more is killed. */
  readonly outputMax: number
  /**
   * Wait for at least this many bytes, even when the program has ended and a process that it started still
   * prints.
   */
  readonly outputMin?: number
  /**
   * Receives a function that kills the program, for when its result is no longer wanted. Returns a function
   * to call at the program's end.
   */
  readonly watch?: (kill: () => void) => () => void
}

export interface Ended {
  /** Null where a signal killed the program. */
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly output: readonly Uint8Array[]
  /** In bytes. */
  readonly outputLength: number
  /** The first 64 KiB of standard error. */
  readonly messages: string
  /** True where the program printed more than allowed. */
  readonly flooded: boolean
}

const messagesMax = 65536
/** Background processes may hold the output open. After this long a quiet period, reading ends, in ms. */
const quietMs = 200

/**
 * Runs a program. Resolves when it has ended and its output is closed or quiet. The program has its own
 * process group, so that processes it started can be killed along with it.
 *
 * @throws Error with a `code` where the program cannot be started.
 */
export async function runProgram(program: Program): Promise<Ended> {
  const { file, args, env, input, outputMax, outputMin = 0, watch } = program
  const pipes = new Pipes(input !== undefined)
  let child: ChildProcess
  try {
    expectProgram()
    child = spawn(file, args, { env, detached: true, stdio: pipes.childEnds })
  } catch (error) {
    pipes.abandon()
    throw error
  } finally {
    pipes.closeChildEnds()
  }
  const [stdin, stdout, stderr] = pipes.ourEnds(child)
  const ended = new Promise<Pick<Ended, 'status' | 'signal'>>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (status, by) => resolve({ status, signal: by }))
  })
  const forget = started(child)
  const kill = () => killGroup(child)
  const unwatch = watch?.(kill)
  // The program may end without reading all input. Its status tells whether that is an error.
  stdin?.on('error', () => {}).end(input)

  const output: Uint8Array[] = []
  let outputLength = 0
  let flooded = false
  const messages: Uint8Array[] = []
  let messagesLength = 0
  const read = (stream: Readable, take: (chunk: Uint8Array) => void) =>
    new Promise<void>((resolve) => {
      stream
        .on('data', take)
        .on('error', () => {})
        .on('close', () => resolve())
    })
  const outputRead = read(stdout, (chunk) => {
    outputLength += chunk.length
    if (outputLength <= outputMax) output.push(chunk)
    else if (!flooded) {
      flooded = true
      kill()
    }
  })
  const messagesRead = read(stderr, (chunk) => {
    if (messagesLength < messagesMax) messages.push(chunk.subarray(0, messagesMax - messagesLength))
    messagesLength += chunk.length
  })
  try {
    const end = await ended
    const quiet = new Quiet(quietMs, () => outputLength >= outputMin)
    stdout.on('data', quiet.begin)
    await Promise.race([Promise.all([outputRead, messagesRead]), quiet.came])
    quiet.end()
    return { ...end, output, outputLength, messages: Buffer.concat(messages).toString(), flooded }
  } finally {
    forget()
    unwatch?.()
    for (const stream of [stdin, stdout, stderr]) stream?.destroy()
  }
}

/** Resolves `came` when nothing has been read for a time, and enough before that. */
class Quiet {
  readonly came: Promise<void>
  readonly #ms: number
  readonly #isEnough: () => boolean
  #timer: NodeJS.Timeout | undefined
  #come = () => {}

  constructor(ms: number, isEnough: () => boolean) {
    this.#ms = ms
    this.#isEnough = isEnough
    this.came = new Promise((resolve) => {
      this.#come = resolve
    })
    this.begin()
  }

  begin = (): void => {
    clearTimeout(this.#timer)
    if (this.#isEnough()) this.#timer = setTimeout(this.#come, this.#ms)
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}

type Ends = readonly [stdin: Writable | undefined, stdout: Readable, stderr: Readable]

/**
 * The pipes of a program. Node uses sockets, which have no name that a program can open (`/dev/stdin`). Real
 * pipes do, and are used where the C library is available.
 */
class Pipes {
  readonly #real: readonly (readonly [read: number, write: number])[]
  readonly #reads: boolean

  constructor(reads: boolean) {
    const library = libc()
    const made: (readonly [number, number])[] = []
    this.#reads = reads
    this.#real = made
    if (library === undefined) return
    try {
      for (let count = 0; count < 3; count++) made.push(library.pipe())
    } catch (error) {
      this.abandon()
      this.closeChildEnds()
      throw error
    }
  }

  get childEnds(): (number | 'pipe' | 'ignore')[] {
    const [input, output, messages] = this.#real
    if (!input || !output || !messages) return [this.#reads ? 'pipe' : 'ignore', 'pipe', 'pipe']
    return [input[0], output[1], messages[1]]
  }

  closeChildEnds(): void {
    for (const [index, [read, write]] of this.#real.entries()) closeSync(index === 0 ? read : write)
  }

  /** Closes our ends: no program was started. */
  abandon(): void {
    for (const [index, [read, write]] of this.#real.entries()) closeSync(index === 0 ? write : read)
  }

  ourEnds(child: ChildProcess): Ends {
    const [input, output, messages] = this.#real
    if (!input || !output || !messages)
      return [child.stdin ?? undefined, child.stdout as Readable, child.stderr as Readable]
    const reader = (fd: number) => new Socket({ fd, readable: true, writable: false })
    const stdin = new Socket({ fd: input[1], readable: false, writable: true })
    return [stdin, reader(output[0]), reader(messages[0])]
  }
}
