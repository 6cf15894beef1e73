/**
 * A client of the model: sends what it is told to, bytes and pieces of them, and hands over each reply that
 * comes.
 */
import type { Duplex } from 'node:stream'
import type { Connection } from '../../src/index.js'
import {
  NBD_CMD_DISC,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_OPT_ABORT,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ACK,
  NBD_REPLY_FLAG_DONE,
  NBD_SIMPLE_REPLY_MAGIC,
} from '../../src/protocol/constants.js'
import { encodeRequest, infoData } from '../../src/testing/index.js'
import type { Plan } from './model-layers.js'

export const blockBytes = 512

/** One request: what was sent, what a layer saw of it, and what came back. */
export interface Asked {
  readonly cookie: number
  readonly operation: 'read' | 'write' | 'zero' | 'trim' | 'flush' | 'wrong'
  readonly offset: number
  readonly length: number
  /** What a write puts into each 32 bits of its blocks: no other write has it. */
  readonly stamp: number
  readonly plan: Plan
  /** The error that it gets where it is wrong in itself. */
  readonly wrong: number
  /** All of it was sent. */
  sent: boolean
  /** It was sent when the server had already promised to refuse it. */
  tooLate: boolean
  /** It was sent behind a DISC, or to a connection that is closed: nobody has to answer. */
  unheard: boolean
  /** The outermost layer was called. */
  entered: boolean
  /** The outermost layer has answered: 0, or an error. */
  outcome: number | undefined
  /** A write is on the disk. */
  applied: boolean
  /** What a read must give, where the device has chosen it. */
  expected: Buffer | undefined
  /** What the client was told: 0, or an error. */
  reply: number | undefined
}

export interface ClientEvents {
  replied(client: Client, asked: Asked, data: Buffer | undefined): void
  /** Bytes came. */
  received(client: Client, bytes: number): void
  /** The server has ended the connection. */
  over(client: Client): void
  violated(what: string): void
}

type Phase = 'greeting' | 'options' | 'transmission'

export class Client {
  readonly name: string
  readonly stream: Duplex
  readonly connection: Connection
  /**
   * It asks for structured replies. It does something as soon as it is answered, before its stream returns.
   */
  readonly structured: boolean
  readonly eager: boolean
  readonly asked = new Map<number, Asked>()
  /** Valid requests that no layer has seen, in the order they were sent. */
  readonly waiting: Asked[] = []
  /** Steps of the handshake that are still to be taken. */
  readonly steps: (() => void)[] = []
  phase: Phase = 'greeting'
  /** The rest of a request of which the first bytes are sent. */
  partial: { readonly rest: Buffer; readonly asked: Asked } | undefined
  /** It sent DISC. It ended its side. */
  saidGoodbye = false
  ended = false
  /** It is gone without a word. */
  dead = false
  /** It ended its side in the middle of a request. */
  endedMidway = false
  /** The server has ended the connection, or the client has. */
  over = false
  paused = false
  /** Of the server's side: a device is open; softly or hard disconnected; to be closed after a quiet. */
  deviceOpen = false
  soft = false
  forced = false
  /** The signal fired because it had ended its side: a drop that follows is not seen. */
  woken = false
  lingers = false
  /** To be closed with no wait at all for what is on its way. */
  hasty = false
  /** Why it may be dropped by the server. */
  mayDrop = false
  /** It was refused, and has sent ABORT. */
  leaves = false
  /** Callbacks of layers that have not settled; those that the server itself has called. */
  running = 0
  inFlight = 0
  readonly #events: ClientEvents
  #received = Buffer.alloc(0) as Buffer
  #nextCookie = 1
  #reading = Buffer.alloc(0)
  #optionsInHand = 0

  constructor(
    name: string,
    stream: Duplex,
    connection: Connection,
    { structured, eager }: { readonly structured: boolean; readonly eager: boolean },
    events: ClientEvents,
  ) {
    this.name = name
    this.stream = stream
    this.connection = connection
    this.structured = structured
    this.eager = eager
    this.#events = events
    stream.on('data', (chunk: Buffer) => {
      this.#events.received(this, chunk.length)
      this.#received = this.#received.length > 0 ? Buffer.concat([this.#received, chunk]) : chunk
      while (!this.over && this.#parse());
    })
    stream.on('error', () => {})
    const over = () => {
      if (this.over) return
      this.over = true
      this.#events.over(this)
      stream.destroy()
    }
    stream.on('end', over).on('close', over)
    this.#planHandshake()
  }

  #planHandshake(): void {
    this.steps.push(() => this.stream.write(Buffer.from([0, 0, 0, 3])))
    if (this.structured) this.steps.push(() => this.#option(NBD_OPT_STRUCTURED_REPLY, Buffer.alloc(0)))
    if (this.name.length % 2 === 0) this.steps.push(() => this.#option(NBD_OPT_INFO, infoData(this.name)))
    this.steps.push(() => this.#option(NBD_OPT_GO, infoData(this.name)))
  }

  #option(option: number, data: Buffer): void {
    const header = Buffer.from('IHAVEOPT00000000')
    header.writeUInt32BE(option, 8)
    header.writeUInt32BE(data.length, 12)
    this.#optionsInHand++
    this.stream.write(Buffer.concat([header, data]))
  }

  get canSend(): boolean {
    // Who writes to a connection that is gone cannot read any more what came before.
    const gone = this.connection.state === 'closed' || (this.paused && this.saidGoodbye)
    return !this.over && !this.ended && !gone
  }

  /** Makes a request, without sending it. */
  make(fields: Pick<Asked, 'operation' | 'offset' | 'length' | 'stamp' | 'plan' | 'wrong'>): Asked {
    const asked: Asked = {
      ...fields,
      cookie: this.#nextCookie++,
      sent: false,
      tooLate: false,
      unheard: false,
      entered: false,
      outcome: undefined,
      applied: false,
      expected: undefined,
      reply: undefined,
    }
    this.asked.set(asked.cookie, asked)
    return asked
  }

  /**
   * Sends requests as one chunk, and all but the last `held` bytes of them. `late`: the server refuses by
   * now.
   */
  send(batch: readonly Asked[], held: number, late: boolean): void {
    const bytes = Buffer.concat(batch.map(encode))
    const whole = held > 0 ? batch.slice(0, -1) : batch
    for (const asked of whole) this.#sends(asked, late)
    const last = batch.at(-1)
    if (held > 0 && last) {
      this.#begins(last)
      this.partial = { rest: bytes.subarray(bytes.length - held), asked: last }
    }
    this.stream.write(bytes.subarray(0, bytes.length - held))
  }

  /** Sends a part of what is left of a request. */
  advance(bytes: number): void {
    const { partial } = this
    if (partial === undefined) return
    this.stream.write(partial.rest.subarray(0, bytes))
    this.partial = { ...partial, rest: partial.rest.subarray(bytes) }
  }

  /** Sends what is left of a request. */
  finish(late: boolean): void {
    const { partial } = this
    if (partial === undefined) return
    this.partial = undefined
    partial.asked.sent = true
    // What is wrong in itself may have been found so by its first bytes.
    this.#notes(partial.asked, late && partial.asked.operation !== 'wrong')
    this.stream.write(partial.rest)
  }

  #begins(asked: Asked): void {
    if (asked.operation !== 'wrong') this.waiting.push(asked)
    if (this.saidGoodbye) asked.unheard = true
  }

  #sends(asked: Asked, late: boolean): void {
    this.#begins(asked)
    asked.sent = true
    this.#notes(asked, late)
  }

  #notes(asked: Asked, late: boolean): void {
    asked.tooLate = late
    if (this.connection.state === 'closed') asked.unheard = true
  }

  disc(): void {
    this.saidGoodbye = true
    this.stream.write(encodeRequest({ type: NBD_CMD_DISC }))
  }

  /** Ends its side. In the middle of anything that is as good as death. */
  end(): void {
    this.ended = true
    this.endedMidway = this.partial !== undefined
    this.mayDrop ||= this.endedMidway || this.phase !== 'transmission'
    this.stream.end()
  }

  destroy(): void {
    this.dead = true
    this.mayDrop = true
    this.over = true
    this.stream.destroy()
  }

  /** Takes one message of what was received. False: there is not all of one. */
  #parse(): boolean {
    if (this.phase === 'greeting') {
      if (this.#cut(18) === undefined) return false
      this.phase = 'options'
      return true
    }
    return this.phase === 'options' ? this.#parseOption() : this.#parseReply()
  }

  #cut(length: number): Buffer | undefined {
    if (this.#received.length < length) return undefined
    const cut = this.#received.subarray(0, length)
    this.#received = this.#received.subarray(length)
    return cut
  }

  #parseOption(): boolean {
    if (this.#received.length < 20) return false
    const reply = this.#cut(20 + this.#received.readUInt32BE(16))
    if (reply === undefined) return false
    const [option, type] = [reply.readUInt32BE(8), reply.readUInt32BE(12)]
    if (type !== NBD_REP_ACK && type < 2 ** 31) return true
    if (--this.#optionsInHand < 0) this.#events.violated(`${this.name}: option ${option} is answered twice`)
    if (option === NBD_OPT_GO && type === NBD_REP_ACK) this.phase = 'transmission'
    // It was told no: it leaves.
    if (option === NBD_OPT_GO && type >= 2 ** 31) {
      this.leaves = true
      this.#option(NBD_OPT_ABORT, Buffer.alloc(0))
    }
    return true
  }

  #parseReply(): boolean {
    const received = this.#received
    if (received.length < 16) return false
    const isSimple = received.readUInt32BE(0) === NBD_SIMPLE_REPLY_MAGIC
    const cookie = Number(received.readBigUInt64BE(8))
    const asked = this.asked.get(cookie)
    if (asked === undefined) {
      this.#events.violated(`${this.name}: a reply to ${cookie}, which was never asked`)
      return false
    }
    if (isSimple) return this.#simple(asked, received.readUInt32BE(4))
    if (received.length < 20) return false
    const chunk = this.#cut(20 + received.readUInt32BE(16))
    if (chunk === undefined) return false
    const [flags, type] = [chunk.readUInt16BE(4), chunk.readUInt16BE(6)]
    if (type === 1) {
      if (this.#reading.length !== asked.length) this.#reading = Buffer.alloc(asked.length)
      chunk.copy(this.#reading, Number(chunk.readBigUInt64BE(20)) - asked.offset, 28)
    }
    if ((flags & NBD_REPLY_FLAG_DONE) === 0) return true
    const data = this.#reading
    this.#reading = Buffer.alloc(0)
    this.#done(asked, type >= 0x8000 ? chunk.readUInt32BE(20) : 0, data)
    return true
  }

  #simple(asked: Asked, error: number): boolean {
    const dataBytes = error === 0 && asked.operation === 'read' ? asked.length : 0
    const reply = this.#cut(16 + dataBytes)
    if (reply === undefined) return false
    this.#done(asked, error, reply.subarray(16))
    return true
  }

  #done(asked: Asked, error: number, data: Buffer): void {
    if (asked.reply !== undefined) this.#events.violated(`${this.name}: ${describe(asked)} is answered twice`)
    asked.reply = error
    this.#events.replied(this, asked, error === 0 && asked.operation === 'read' ? data : undefined)
  }
}

/** The payload of a write: its stamp, all over. */
export function payloadOf({ stamp, length }: Pick<Asked, 'stamp' | 'length'>): Buffer {
  const unit = Buffer.alloc(4)
  unit.writeUInt32LE(stamp)
  return Buffer.alloc(length, unit)
}

function encode(asked: Asked): Buffer {
  const { cookie, operation, offset, length, stamp } = asked
  if (operation === 'read') return encodeRequest({ type: NBD_CMD_READ, cookie, offset, length })
  if (operation === 'zero') return encodeRequest({ type: NBD_CMD_WRITE_ZEROES, cookie, offset, length })
  if (operation === 'trim') return encodeRequest({ type: NBD_CMD_TRIM, cookie, offset, length })
  if (operation === 'flush') return encodeRequest({ type: NBD_CMD_FLUSH, cookie })
  // What is wrong is a write beyond the end where it has a stamp, and no command at all where it has none.
  if (operation === 'wrong' && stamp === 0) return encodeRequest({ type: 99, cookie, offset, length })
  return encodeRequest({ type: NBD_CMD_WRITE, cookie, offset, length, payload: payloadOf(asked) })
}

export function describe({ cookie, operation, offset, length }: Asked): string {
  return `request ${cookie} (${operation} ${length} at ${offset})`
}
