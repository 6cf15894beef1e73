/**
 * Reads what a coprocess sends (docs/coprocess.md):
 *
 *     TAG ok [LENGTH] | TAG false | TAG missing | TAG error [ERRNO [MESSAGE]]
 *     shutdown | disconnect HANDLE soft|force | log TEXT | debug TEXT
 *
 * each on a line, and LENGTH bytes behind it.
 */

/** The longest line, in bytes. */
const lineMax = 65536

export interface ReplyEvents {
  /** How many bytes of output are of use to the call of this tag; undefined where no call has it. */
  wanted(tag: number): number | undefined
  /** `output` is as long as is of use, `length` what was really sent. */
  ok(tag: number, output: readonly Uint8Array[], length: number): void
  other(tag: number, status: 'false' | 'missing'): void
  error(tag: number, code: string, message: string): void
  shutdown(): void
  disconnect(handle: string, force: boolean): void
  message(kind: 'log' | 'debug', text: string): void
}

export class ReplyDecoder {
  readonly #events: ReplyEvents
  /** The beginning of a line whose end has not come. */
  #begun: Buffer[] = []
  #begunLength = 0
  #tag = 0
  #length = 0
  /** Bytes of output that are still to come, and those of them that are of use. */
  #missing = 0
  #wanted = 0
  #output: Uint8Array[] = []

  constructor(events: ReplyEvents) {
    this.#events = events
  }

  /**
   * Takes bytes as they come. Views of `chunk` are kept as output.
   *
   * @throws Error where a line is none of the protocol.
   */
  push(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#missing > 0) {
        at = this.#takeOutput(chunk, at)
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

  #takeOutput(chunk: Buffer, at: number): number {
    const length = Math.min(this.#missing, chunk.length - at)
    const useful = Math.min(length, this.#wanted)
    if (useful > 0) this.#output.push(chunk.subarray(at, at + useful))
    this.#wanted -= useful
    this.#missing -= length
    if (this.#missing === 0) this.#answered()
    return at + length
  }

  #answered(): void {
    const output = this.#output
    this.#output = []
    this.#events.ok(this.#tag, output, this.#length)
  }

  #keep(part: Buffer): void {
    this.#begunLength += part.length
    if (this.#begunLength > lineMax) throw new Error(`a line of more than ${lineMax} bytes`)
    this.#begun.push(part)
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
    const wanted = this.#events.wanted(tag)
    if (wanted === undefined) throw new Error(`an answer to a call that does not wait: "${shown(line)}"`)
    const status = line.slice(space + 1)
    if (status.startsWith('ok ')) {
      const length = Number(status.slice(3))
      if (!/^\d+$/.test(status.slice(3)) || !Number.isSafeInteger(length))
        throw new Error(`"${shown(line)}" has no length`)
      this.#tag = tag
      this.#length = length
      this.#missing = length
      this.#wanted = wanted
      if (length === 0) this.#answered()
    } else if (status === 'ok') this.#events.ok(tag, [], 0)
    else if (status === 'false' || status === 'missing') this.#events.other(tag, status)
    else {
      const [, code = 'EIO', message = ''] = /^error(?: (E\w+))?(?: (.*))?$/.exec(status) ?? wrong(line)
      this.#events.error(tag, code, message)
    }
  }

  #request(line: string): void {
    const [, handle = '', how] = /^disconnect (\S*) (soft|force)$/.exec(line) ?? []
    if (how !== undefined) this.#events.disconnect(handle, how === 'force')
    else if (line === 'shutdown') this.#events.shutdown()
    else {
      const [, kind, text = ''] = /^(log|debug)(?: (.*))?$/.exec(line) ?? wrong(line)
      this.#events.message(kind as 'log' | 'debug', text)
    }
  }
}

function wrong(line: string): never {
  throw new Error(`a line that is none of the protocol: "${shown(line)}"`)
}

function shown(line: string): string {
  return line.length > 80 ? `${line.slice(0, 80)}…` : line
}
