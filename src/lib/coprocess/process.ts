/** A process that answers calls, from its start to its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Duplex, Readable, Writable } from 'node:stream'
import { NbdError } from '../../api/errors.js'
import type { Log } from '../../api/log.js'
import { BusyPoll } from '../busy-poll.js'
import { killGroup, started } from '../started.js'
import { writeAll } from '../write-all.js'
import { Channel, type ChannelEvents } from './channel.js'

export interface CoprocessOptions {
  readonly file: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** It speaks on standard input and output, or on a descriptor that its variable NBDKIT_TS_FD names. */
  readonly speaks: 'standard' | 'descriptor'
  /** Where standard output and input are a client's: 2 for output, and no input. */
  readonly stdioSafe: boolean
  /** Descriptors of ours that it is to have too, under the same numbers, above 2. */
  readonly descriptors?: readonly number[]
  /** For messages: whose process it is. */
  readonly name: string
  readonly log: Log
  /** As a layer is told. */
  readonly busyPollUs: number
  readonly events: Pick<ChannelEvents, 'shutdown' | 'disconnect'>
  /** It has ended, and was not told to. */
  readonly died?: (why: string) => void
}

/** When it has ended, what it printed is waited for so long, in ms. */
const printedMs = 200

/** After the end of its input a process has so long to end by itself, in ms. */
const endMs = 5000

export class Coprocess {
  readonly channel: Channel
  /** Resolves when it has ended. */
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  readonly #forget: () => void
  #ending = false
  #hasEnded = false
  #killedFor: string | undefined

  constructor(options: CoprocessOptions) {
    const { file, args, name, log, events } = options
    const stdio = stdioOf(options)
    const fd = stdio.indexOf('pipe', 3)
    const env = { ...options.env, ...(options.speaks === 'descriptor' ? { NBDKIT_TS_FD: `${fd}` } : {}) }
    this.#child = spawn(file, args, { env, detached: true, stdio })
    const [from, to] = streamsOf(this.#child, options, fd)
    this.channel = new Channel(from, to, new BusyPoll(options.busyPollUs), {
      ...events,
      message: (kind, text) => (kind === 'log' ? log.error(text) : log.debug(text)),
      broken: (message) => this.kill(`it broke the protocol: ${message}`),
    })
    this.#forget = started(this.#child)
    if (options.speaks === 'descriptor') printFrom(this.#child, options.stdioSafe)
    let why = 'it has ended'
    let ended!: () => void
    this.ended = new Promise((resolve) => {
      ended = resolve
    })
    this.#child.on('error', (error) => {
      why = `it cannot be run: ${error.message}`
      // Nothing was started, and so there is nothing that could exit.
      if (this.#child.pid === undefined) this.#end(why, name, options, ended)
    })
    this.#child.on('exit', (status, signal) => {
      const how = signal === null ? `it ended with status ${status}` : `it was killed by ${signal}`
      why = this.#killedFor ?? how
      // What it had answered before it ended is read first, and what it printed.
      const printed = new Promise<void>((resolve) => {
        // What it has started may hold these open, and live.
        const timer = setTimeout(resolve, printedMs)
        this.#child.on('close', () => {
          clearTimeout(timer)
          resolve()
        })
      })
      void Promise.all([this.channel.read, printed]).then(() => this.#end(why, name, options, ended))
    })
  }

  /** Undefined: it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid
  }

  kill(why: string): void {
    this.#killedFor ??= why
    killGroup(this.#child)
  }

  /** Lets it end: it finds the end of its input. Where that does not help, it is killed. */
  async end(): Promise<void> {
    this.#ending = true
    if (this.#hasEnded) return
    this.channel.end()
    const timer = setTimeout(() => killGroup(this.#child), endMs)
    await this.ended
    clearTimeout(timer)
  }

  #end(why: string, name: string, { log, died }: CoprocessOptions, ended: () => void): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#forget()
    const unexpected = !this.#ending || this.channel.waiting > 0
    this.channel.fail(new NbdError('EIO', `${name}: ${why}`))
    if (unexpected) {
      log.error(`${name}: ${why}`)
      died?.(why)
    }
    ended()
  }
}

/**
 * What it prints goes through us, as our own standard output and error may change: in the background they are
 * nobody's any more, and whoever waits for their end must not wait for a plugin.
 */
function printFrom({ stdout, stderr }: ChildProcess, stdioSafe: boolean): void {
  stdout?.on('data', (chunk: Uint8Array) => writeAll(stdioSafe ? 1 : 2, chunk))
  stderr?.on('data', (chunk: Uint8Array) => writeAll(2, chunk))
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
