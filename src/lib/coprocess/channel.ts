/** Calls over a stream: a line for each, and bytes (docs/coprocess.md). */
import type { Readable, Writable } from 'node:stream'
import { messageOf, NbdError } from '../../api/errors.js'
import type { Outcome } from '../methods/methods.js'
import { ReplyDecoder } from './replies.js'

/** What is printed by methods that give no data: more than any list of exports needs. */
const textMax = 32 * 2 ** 20

export interface ChannelEvents {
  shutdown(): void
  disconnect(handle: string, force: boolean): void
  message(kind: 'log' | 'debug', text: string): void
  /** What came makes no sense: nothing that follows would. */
  broken(message: string): void
}

interface Waiting {
  readonly method: string
  readonly wanted: number
  resolve(outcome: Outcome): void
  reject(error: Error): void
}

export class Channel {
  readonly #to: Writable
  readonly #waiting = new Map<number, Waiting>()
  /** What is to be sent when the calls of this turn have all been made. */
  #lines = ''
  #parts: (string | Uint8Array)[] = []
  #flushing = false
  #tag = 0
  #failure: Error | undefined

  constructor(from: Readable, to: Writable, events: ChannelEvents) {
    this.#to = to
    const decoder = new ReplyDecoder({
      wanted: (tag) => this.#waiting.get(tag)?.wanted,
      ok: (tag, output, length) => this.#ok(this.#take(tag), output, length),
      other: (tag, status) => this.#take(tag).resolve({ status, output: [] }),
      error: (tag, code, message) => {
        const { method, reject } = this.#take(tag)
        reject(Object.assign(new Error(message === '' ? `${method}: it failed` : message), { code }))
      },
      shutdown: events.shutdown,
      disconnect: events.disconnect,
      message: events.message,
    })
    from.on('data', (chunk: Buffer) => {
      if (this.#failure) return
      try {
        decoder.push(chunk)
      } catch (error) {
        events.broken(messageOf(error))
      }
    })
    // How it ends is told by the process.
    from.on('error', () => {})
    to.on('error', () => {})
  }

  /** Calls that have not been answered. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** `input` is borrowed until the promise settles. `length`: the bytes of output that are wanted. */
  call(
    method: string,
    words: readonly (string | number)[],
    input?: Uint8Array,
    length = textMax,
  ): Promise<Outcome> {
    if (this.#failure) return Promise.reject(this.#failure)
    const tag = ++this.#tag
    let line = `${tag} ${method}`
    for (const word of words) line += ` ${typeof word === 'number' ? word : encodeWord(word)}`
    this.#send(`${line}\n`, input)
    return new Promise((resolve, reject) => {
      this.#waiting.set(tag, { method, wanted: length, resolve, reject })
    })
  }

  /** A line that is not answered. */
  note(text: string): void {
    if (!this.#failure) this.#send(`- ${text}\n`)
  }

  /** Nothing more will be called: it finds the end of its input. */
  end(): void {
    this.#flush()
    this.#to.end()
  }

  /** Fails all that wait, and all that will be called. */
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

  #ok({ method, wanted, resolve, reject }: Waiting, output: readonly Uint8Array[], length: number): void {
    if (length <= wanted) {
      const [first] = output
      resolve({ status: 'ok', output: output.length === 1 && first ? first : output })
    } else reject(new NbdError('EIO', `${method}: it answered ${length} bytes, wanted were ${wanted}`))
  }

  /** Many calls are made in one turn: they leave together. */
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
    const parts = this.#parts
    const lines = this.#lines
    this.#lines = ''
    if (parts.length === 0) {
      if (lines !== '') this.#to.write(lines)
      return
    }
    this.#parts = []
    this.#to.cork()
    for (const part of parts) this.#to.write(part)
    if (lines !== '') this.#to.write(lines)
    this.#to.uncork()
  }
}

/** Spaces, control characters and `%` as `%20`: what is left is one word. */
export function encodeWord(word: string): string {
  const isPlain = /^[^\0-\x20\x7f%]*$/.test(word)
  if (isPlain) return word
  return word.replaceAll(/[\0-\x20\x7f%]/g, (character) => {
    return `%${character.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`
  })
}

/** What {@link encodeWord} made. Bytes that are no text stay visible. */
export function decodeWord(word: string): string {
  return word.replaceAll(/(?:%[0-9a-f]{2})+/gi, (escaped) =>
    Buffer.from(escaped.replaceAll('%', ''), 'hex').toString(),
  )
}
