/** A process that answers calls, from start to end. */
import type { ChildProcess } from 'node:child_process'
import type { Duplex, Readable, Writable } from 'node:stream'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { NbdError } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import { BusyPoll } from '../../net/busy-poll.js'
import { expectProgram, killGroup, started } from '../../os/process-groups.js'
import { spawn } from '../../os/spawn.js'
import { writeStandard } from '../../os/standard-streams.js'
import { whyNotRun } from '../why-not-run.js'
import { Channel, type ChannelEvents } from './channel.js'

export interface CoprocessOptions {
  readonly file: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** Speaks on standard input and output, or on the descriptor in the variable NBDKIT_TS_FD. */
  readonly speaks: 'standard' | 'descriptor'
  /**
   * False where standard input and output belong to a client: the process then prints to 2 and has no input.
   */
  readonly stdioSafe: boolean
  /** Our descriptors that the process also gets, under the same numbers, above 2. */
  readonly descriptors?: readonly number[]
  /** The owner of the process, for messages. */
  readonly name: string
  readonly log: Log
  /** The value that layers receive. */
  readonly busyPollUs: number
  readonly events: Pick<ChannelEvents, 'shutdown' | 'disconnect'>
}

/**
 * Programs that the process left behind may hold its pipes open. Once it has ended, this long a quiet period
 * ends reading, in ms.
 */
const saidMs = 200

/** Time for the process to end after the end of its input, in ms. */
const endMs = 5000

export class Coprocess {
  readonly channel: Channel
  /** Resolves when the process has ended. */
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  #ending = false
  #begun = false
  #hasEnded = false
  #killedFor: string | undefined

  constructor(options: CoprocessOptions) {
    const { file, args, name, log, events } = options
    const stdio = stdioOf(options)
    const fd = stdio.indexOf('pipe', 3)
    const env = { ...options.env, ...(options.speaks === 'descriptor' ? { NBDKIT_TS_FD: `${fd}` } : {}) }
    expectProgram()
    this.#child = spawn(file, args, { env, detached: true, stdio })
    const [from, to] = streamsOf(this.#child, options, fd)
    this.channel = new Channel(from, to, new BusyPoll(options.busyPollUs), {
      ...events,
      message: (kind, text) => (kind === 'log' ? log.error(text) : log.debug(text)),
      broken: (message) => this.kill(`it broke the protocol: ${message}`),
    })
    const forget = started(this.#child)
    if (options.speaks === 'descriptor') printFrom(this.#child, options.stdioSafe)
    this.ended = this.#end(file).then((why) => {
      this.#hasEnded = true
      forget()
      const unexpected = this.#begun && (!this.#ending || this.channel.waiting > 0)
      this.channel.fail(new NbdError('EIO', `${name}: ${why}`))
      if (unexpected) log.error(`${name}: ${why}`)
    })
  }

  /** Resolves with the reason when the process has ended and its output has been read. */
  async #end(file: string): Promise<string> {
    const child = this.#child
    const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
    const why = await new Promise<string>((resolve) => {
      child.on('error', (error) => {
        // Nothing was started, so no exit will follow.
        if (child.pid === undefined) resolve(`it cannot be run: ${whyNotRun(file, error)}`)
      })
      child.on('exit', (status, signal) => {
        const how = signal === null ? `it ended with status ${status}` : `it was killed by ${signal}`
        resolve(this.#killedFor ?? how)
      })
    })
    if (child.pid === undefined) return why
    const said = Promise.all([closed, this.channel.read]).then(() => true)
    // While data arrives, more may follow.
    for (let before = -1; before !== this.channel.bytesRead; ) {
      before = this.channel.bytesRead
      const patience = new AbortController()
      const quiet = sleep(saidMs, false, { signal: patience.signal }).catch(() => false)
      const isAll = await Promise.race([said, quiet])
      patience.abort()
      if (isAll) break
      // Read data that came while the server was busy before deciding.
      await setImmediate()
    }
    this.channel.close()
    child.stdout?.destroy()
    child.stderr?.destroy()
    return why
  }

  /** From now on an unexpected end is logged. Before, the starter learns of the end from its calls. */
  begun(): void {
    this.#begun = true
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** True where the process runs or has run. */
  get hasStarted(): boolean {
    return this.#child.pid !== undefined
  }

  kill(why: string): void {
    this.#killedFor ??= why
    killGroup(this.#child)
  }

  /** Ends the input of the process, so that it ends. Kills it where it does not. */
  async end(): Promise<void> {
    this.#ending = true
    if (this.#hasEnded) return
    this.channel.end()
    const timer = setTimeout(() => killGroup(this.#child), endMs)
    await this.ended
    clearTimeout(timer)
  }
}

/**
 * Passes the output of the process through us, because our own standard output and error may change: they are
 * detached in the background, and a caller that waits for them to close must not wait for a plugin.
 */
function printFrom({ stdout, stderr }: ChildProcess, stdioSafe: boolean): void {
  stdout?.on('data', (chunk: Uint8Array) => writeStandard(stdioSafe ? 1 : 2, chunk))
  stderr?.on('data', (chunk: Uint8Array) => writeStandard(2, chunk))
}

type Stdio = 'ignore' | 'pipe' | number

function stdioOf({ speaks, stdioSafe, descriptors = [] }: CoprocessOptions): Stdio[] {
  if (speaks === 'standard') return ['pipe', 'pipe', 2]
  const stdio: Stdio[] = [stdioSafe ? 0 : 'ignore', 'pipe', 'pipe']
  const highest = Math.max(2, ...descriptors)
  for (let fd = stdio.length; fd <= highest; fd++) stdio.push(descriptors.includes(fd) ? fd : 'ignore')
  const unused = stdio.indexOf('ignore', 3)
  stdio[unused < 0 ? stdio.length : unused] = 'pipe'
  return stdio
}

function streamsOf(
  child: ChildProcess,
  { speaks }: CoprocessOptions,
  fd: number,
): [from: Readable, to: Writable] {
  if (speaks === 'standard') return [child.stdout as Readable, child.stdin as Writable]
  const both = (child.stdio as readonly unknown[])[fd] as Duplex
  return [both, both]
}
