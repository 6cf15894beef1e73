/**
 * Reads the output of a coprocess (docs/coprocess.md):
 *
 *     TAG ok [LENGTH] | TAG false | TAG missing
 *     TAG error [ERRNO [MESSAGE]] | TAG raised NAME PLACE [MESSAGE]
 *     shutdown | disconnect HANDLE soft|force | log TEXT | debug TEXT
 *
 * Each is a line, with LENGTH bytes after it.
 */

import { printableLine } from '../../lib/printable.js'

/** The longest line, in bytes. */
const lineMax = 65536

/** With at least this many bytes still to come, receiving directly into their place pays off. */
const placeMin = 16384

export interface ReplyEvents {
  /**
   * The memory for the output of the call with this tag, which will send `length` bytes. The memory may be
   * shorter: then the rest is discarded. Undefined where no call has this tag.
   */
  target(tag: number, length: number): Uint8Array | undefined
  /** `output` is the memory from `target`, `length` the number of bytes sent. */
  ok(tag: number, output: Uint8Array, length: number): void
  other(tag: number, status: 'false' | 'missing'): void
  error(tag: number, code: string, message: string): void
  /** `name` and `place` are encoded words of the protocol. */
  raised(tag: number, raised: Raised): void
  shutdown(): void
  disconnect(handle: string, force: boolean): void
  message(kind: 'log' | 'debug', text: string): void
}

/** An exception that the plugin did not intend. */
export interface Raised {
  readonly name: string
  readonly place: string
  readonly message: string
}

export class ReplyDecoder {
  readonly #events: ReplyEvents
  /** The parts of an incomplete line. */
  #begun: Buffer[] = []
  #begunLength = 0
  #tag = 0
  #length = 0
  /** Bytes of output still to come. */
  #missing = 0
  #target: Uint8Array = nothing
  /** Bytes in the target. */
  #filled = 0

  constructor(events: ReplyEvents) {
    this.#events = events
  }

  /**
   * The place for the next bytes, where it is known and many bytes are to come. Report them to {@link
   * placed}.
   */
  place(): Uint8Array | undefined {
    const room = this.#target.length - this.#filled
    return this.#missing >= placeMin && room >= placeMin ? this.#target.subarray(this.#filled) : undefined
  }

  /** Reports `length` bytes received into their place. */
  placed(length: number): void {
    this.#filled += length
    this.#missing -= length
    if (this.#missing === 0) this.#answered()
  }

  /**
   * Takes received bytes, which may be used until this returns.
   *
   * @throws Error where a line breaks the protocol.
   */
  push(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#missing > 0) {
        at = this.#takeOutput(chunk, at)
        continue
      }
      const next = this.#begunLength === 0 ? this.#okLine(chunk, at) : at
      if (next > at) {
        at = next
        continue
      }
      const end = chunk.indexOf(10, at)
      if (end < 0) {
        this.#keep(chunk.subarray(at))
        return
      }
      const line =
        this.#begunLength === 0 ? chunk.toString('utf8', at, end) : this.#joined(chunk.subarray(at, end))
      at = end + 1
      this.#line(line)
    }
  }

  /**
   * Decodes the line `TAG ok` or `TAG ok LENGTH`, the answer to most requests, without making a string.
   * Returns the position after the line, or `at` for any other line.
   */
  #okLine(chunk: Buffer, at: number): number {
    const space = digitsEnd(chunk, at)
    if (chunk[space] !== 0x20 || chunk[space + 1] !== 0x6f || chunk[space + 2] !== 0x6b) return at
    const hasLength = chunk[space + 3] === 0x20
    const end = hasLength ? digitsEnd(chunk, space + 4) : space + 3
    const length = hasLength ? numberIn(chunk, space + 4, end) : 0
    if (chunk[end] !== 0x0a || (hasLength && length === 0)) return at
    const tag = numberIn(chunk, at, space)
    const target = this.#events.target(tag, length)
    if (target === undefined) return at
    this.#answer(tag, length, target)
    return end + 1
  }

  #answer(tag: number, length: number, target: Uint8Array): void {
    if (length === 0) {
      this.#events.ok(tag, nothing, 0)
      return
    }
    this.#tag = tag
    this.#length = length
    this.#missing = length
    this.#target = target
    this.#filled = 0
  }

  #takeOutput(chunk: Buffer, at: number): number {
    const length = Math.min(this.#missing, chunk.length - at)
    const useful = Math.min(length, this.#target.length - this.#filled)
    if (useful > 0) {
      this.#target.set(new Uint8Array(chunk.buffer, chunk.byteOffset + at, useful), this.#filled)
      this.#filled += useful
    }
    this.#missing -= length
    if (this.#missing === 0) this.#answered()
    return at + length
  }

  #answered(): void {
    const target = this.#target
    this.#target = nothing
    this.#events.ok(this.#tag, target, this.#length)
  }

  #keep(part: Buffer): void {
    this.#begunLength += part.length
    if (this.#begunLength > lineMax) throw new Error(`a line of more than ${lineMax} bytes`)
    this.#begun.push(Buffer.from(part))
  }

  #joined(end: Buffer): string {
    this.#keep(end)
    const line = Buffer.concat(this.#begun).toString()
    this.#begun = []
    this.#begunLength = 0
    return line
  }

  #line(line: string): void {
    const first = line.charCodeAt(0)
    if (first >= 48 && first <= 57) this.#reply(line)
    else this.#request(line)
  }

  #reply(line: string): void {
    const space = line.indexOf(' ')
    const tag = space < 0 ? Number.NaN : Number(line.slice(0, space))
    const status = line.slice(space + 1)
    const length = status.startsWith('ok ') ? Number(status.slice(3)) : 0
    if (length !== 0 && !(/^ok \d+$/.test(status) && Number.isSafeInteger(length)))
      throw new Error(`"${shown(line)}" has no length`)
    const target = this.#events.target(tag, length)
    if (target === undefined) throw new Error(`an answer to a call that does not wait: "${shown(line)}"`)
    if (length > 0 || status === 'ok' || status === 'ok 0') this.#answer(tag, length, target)
    else if (status === 'false' || status === 'missing') this.#events.other(tag, status)
    else if (status.startsWith('raised ')) {
      const [, name = '', place = '', message = ''] =
        /^raised (\S+) (\S+)(?: (.*))?$/.exec(status) ?? wrong(line)
      this.#events.raised(tag, { name, place, message })
    } else {
      const [, code = 'EIO', message = ''] = /^error(?: (E\w+))?(?: (.*))?$/.exec(status) ?? wrong(line)
      this.#events.error(tag, code, message)
    }
  }

  #request(line: string): void {
    const [, handle = '', how] = /^disconnect (\S*) (soft|force)$/.exec(line) ?? []
    if (how !== undefined) this.#events.disconnect(handle, how === 'force')
    else if (line === 'shutdown') this.#events.shutdown()
    // A reply to a line that wants none, from a program that does not know such lines.
    else if (line.startsWith('- ')) return
    else {
      const [, kind, text = ''] = /^(log|debug)(?: (.*))?$/.exec(line) ?? wrong(line)
      this.#events.message(kind as 'log' | 'debug', text)
    }
  }
}

const nothing = new Uint8Array(0)

/** The digits of the longest number that is decoded without making a string. */
const digitsMax = 15

/** The position after the digits from `at` on. */
function digitsEnd(chunk: Buffer, at: number): number {
  let end = at
  for (let byte = chunk[end]; byte !== undefined && byte >= 0x30 && byte <= 0x39; byte = chunk[end]) end++
  return end
}

/** The number of some digits; 0 where there are none or too many. */
function numberIn(chunk: Buffer, from: number, to: number): number {
  if (to - from > digitsMax) return 0
  let number = 0
  for (let at = from; at < to; at++) number = number * 10 + (chunk[at] ?? 0) - 0x30
  return number
}

function wrong(line: string): never {
  throw new Error(`a line that is none of the protocol: "${shown(line)}"`)
}

function shown(line: string): string {
  return printableLine(line.length > 80 ? `${line.slice(0, 80)}…` : line)
}
