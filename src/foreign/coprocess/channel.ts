/** Calls over a stream: a line for each call, and bytes (docs/coprocess.md). */
import { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { messageOf, NbdError } from '../../api/errors.js'
import { printableLine } from '../../lib/printable.js'
import type { BusyPoll } from '../../net/busy-poll.js'
import { adoptSocket } from '../../net/onread-socket.js'
import { widen } from '../../net/socket-descriptor.js'
import { PluginException, saidError } from '../methods/failures.js'
import { type CallOptions, type Outcome, textMax } from '../methods/methods.js'
import { ReplyDecoder } from './replies.js'

export interface ChannelEvents {
  shutdown(): void
  disconnect(handle: string, force: boolean): void
  message(kind: 'log' | 'debug', text: string): void
  /** The input broke the protocol, so nothing after it can be understood. */
  broken(message: string): void
}

interface Waiting {
  readonly method: string
  /** The memory for the output, where the call has any. */
  readonly into: Uint8Array | undefined
  resolve(outcome: Outcome): void
  reject(error: Error): void
}

export class Channel {
  /** Resolves when all input has been read and no more will come. */
  readonly read: Promise<unknown>
  readonly #from: Readable
  readonly #to: Writable
  readonly #busyPoll: BusyPoll
  readonly #waiting = new Map<number, Waiting>()
  /** Lines to send once all calls of this turn have been made. */
  #lines = ''
  #parts: (string | Uint8Array)[] = []
  #flushing = false
  #tag = 0
  #failure: Error | undefined

  constructor(from: Readable, to: Writable, busyPoll: BusyPoll, events: ChannelEvents) {
    this.#busyPoll = busyPoll
    const decoder = new ReplyDecoder({
      target: (tag, length) => {
        const waiting = this.#waiting.get(tag)
        return waiting && (waiting.into ?? new Uint8Array(Math.min(length, textMax)))
      },
      ok: (tag, output, length) => this.#ok(this.#take(tag), output, length),
      other: (tag, status) => this.#take(tag).resolve({ status, output: nothing }),
      error: (tag, code, message) => {
        const { method, reject } = this.#take(tag)
        reject(saidError(code, message === '' ? `${method}: it failed` : message))
      },
      raised: (tag, { name, place, message }) => {
        const { method, reject } = this.#take(tag)
        reject(new PluginException(decodeWord(name), message, method, decodeWord(place)))
      },
      shutdown: events.shutdown,
      disconnect: events.disconnect,
      message: (kind, text) => events.message(kind, printableLine(text)),
    })
    const received = (chunk: Buffer) => {
      if (this.#failure) return
      busyPoll.expect()
      try {
        decoder.push(chunk)
      } catch (error) {
        events.broken(messageOf(error))
      }
    }
    const adopted = from instanceof Socket ? receiveInto(from, decoder, received) : undefined
    this.#to = adopted && Object.is(from, to) ? adopted : to
    if (this.#to instanceof Socket) widen(this.#to)
    const source = adopted ?? from.on('data', received)
    this.#from = source
    // The process reports why a stream ends.
    for (const stream of [source, this.#to]) stream.on('error', () => {})
    this.read = new Promise((resolve) => {
      source.on('end', resolve).on('close', resolve)
    })
    source.resume()
  }

  /** The number of unanswered calls. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Makes a call. `input` and `into` are borrowed until the promise settles. */
  call(
    method: string,
    words: readonly (string | number)[],
    { input, into }: Pick<CallOptions, 'input' | 'into'> = {},
  ): Promise<Outcome> {
    if (this.#failure) return Promise.reject(this.#failure)
    const tag = ++this.#tag
    let line = `${tag} ${method}`
    for (const word of words) line += ` ${typeof word === 'number' ? word : encodeWord(word)}`
    this.#send(`${line}\n`, input)
    return new Promise((resolve, reject) => {
      this.#waiting.set(tag, { method, into, resolve, reject })
    })
  }

  /** Makes a call for a client that has no handle yet. If the client leaves, the coprocess is told. */
  async callFor(signal: AbortSignal, method: string, words: readonly (string | number)[]): Promise<Outcome> {
    const outcome = this.call(method, words)
    const tag = this.#tag
    const abandoned = () => this.note(`abandoned ${tag}`)
    if (signal.aborted) abandoned()
    signal.addEventListener('abort', abandoned, { once: true })
    try {
      return await outcome
    } finally {
      signal.removeEventListener('abort', abandoned)
    }
  }

  /** Sends a line that gets no reply. */
  note(text: string): void {
    if (!this.#failure) this.#send(`- ${text}\n`)
  }

  /** Ends the input of the coprocess: no more calls follow. */
  end(): void {
    this.#flush()
    this.#to.end()
  }

  /** Bytes received so far, as far as known. */
  get bytesRead(): number {
    return this.#from instanceof Socket ? this.#from.bytesRead : 0
  }

  /** Stops reading and sending, whoever else may hold the other end. */
  close(): void {
    this.#from.destroy()
    this.#to.destroy()
  }

  /** Fails all waiting and all future calls. */
  fail(error: Error): void {
    this.#failure ??= error
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { reject } of waiting) reject(this.#failure)
  }

  #take(tag: number): Waiting {
    const waiting = this.#waiting.get(tag) as Waiting
    this.#waiting.delete(tag)
    return waiting
  }

  #ok({ method, into, resolve, reject }: Waiting, output: Uint8Array, length: number): void {
    const most = into?.length ?? textMax
    // Output shorter than its memory does not fill it.
    if (length <= most) resolve({ status: 'ok', output: output.subarray(0, length) })
    else reject(new NbdError('EIO', `${method}: it answered ${length} bytes, wanted were ${most}`))
  }

  /** Collects the calls of one turn, which are sent together. */
  #send(line: string, input?: Uint8Array): void {
    this.#lines += line
    if (input !== undefined) {
      this.#parts.push(this.#lines, input)
      this.#lines = ''
    }
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => this.#flush())
  }

  #flush(): void {
    this.#flushing = false
    this.#busyPoll.expect()
    const parts = this.#parts
    const lines = this.#lines
    this.#lines = ''
    if (parts.length === 0) {
      if (lines !== '') this.#to.write(lines, 'latin1')
      return
    }
    this.#parts = []
    this.#to.cork()
    for (const part of parts) this.#to.write(part, 'latin1')
    if (lines !== '') this.#to.write(lines, 'latin1')
    this.#to.uncork()
  }
}

const nothing = new Uint8Array(0)

/** The size of one or several reads. Long output goes directly to its place. */
const receiveBytes = 65536

/** Receives large output into its place. Undefined where the running Node cannot do that. */
function receiveInto(
  socket: Socket,
  decoder: ReplyDecoder,
  received: (chunk: Buffer) => void,
): Socket | undefined {
  const common = Buffer.allocUnsafeSlow(receiveBytes)
  let place: Uint8Array | undefined
  return adoptSocket(socket, {
    buffer: () => {
      place = decoder.place()
      return place ?? common
    },
    callback: (length) => {
      if (place === undefined) received(common.subarray(0, length))
      else decoder.placed(length)
      return true
    },
  })
}

/**
 * Encodes a text as one word: spaces, control characters, `%` and characters outside ASCII become escapes
 * such as `%20`.
 */
export function encodeWord(word: string): string {
  const isPlain = /^[\x21-\x24\x26-\x7e]*$/.test(word)
  if (isPlain) return word
  let encoded = ''
  for (const byte of Buffer.from(word)) {
    const plain = byte > 0x20 && byte < 0x7f && byte !== 0x25
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0').toUpperCase()}`
  }
  return encoded
}

/** Decodes the result of {@link encodeWord}. Bytes that are not UTF-8 stay visible. */
export function decodeWord(word: string): string {
  return word.replaceAll(/(?:%[0-9a-f]{2})+/gi, (escaped) =>
    Buffer.from(escaped.replaceAll('%', ''), 'hex').toString(),
  )
}
