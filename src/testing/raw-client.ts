/** A client that sends exactly the bytes of a test, right or wrong, and shows all replies. */
import { connect, type NetConnectOpts } from 'node:net'
import type { Duplex } from 'node:stream'
import { ByteQueue } from '../protocol/byte-queue.js'
import { getUint64, viewOf } from '../protocol/bytes.js'
import {
  NBD_EXTENDED_REPLY_MAGIC,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_IHAVEOPT,
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ACK,
  NBD_REP_INFO,
  NBD_REP_META_CONTEXT,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_ERROR,
  NBD_REQUEST_MAGIC,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
} from '../protocol/constants.js'

export interface OptionReply {
  readonly option: number
  readonly type: number
  readonly data: Buffer
}

/** A simple reply (`type` undefined) or one chunk. */
export interface ReplyPart {
  readonly cookie: number
  readonly error: number
  readonly message: string
  readonly type: number | undefined
  readonly done: boolean
  readonly data: Buffer
}

/** Fields of a request. A missing field is 0. The payload follows the header unchanged. */
export interface RawRequest {
  readonly type: number
  readonly flags?: number
  readonly cookie?: number
  readonly offset?: number | bigint
  readonly length?: number | bigint
  readonly payload?: Uint8Array
  readonly magic?: number
}

export class RawClient {
  readonly stream: Duplex
  /** Resolves when the stream is closed. */
  readonly closed: Promise<void>
  extended = false
  readonly #queue = new ByteQueue()
  /** Resolves when the server will send no more. */
  readonly #ended: Promise<void>
  /** Lengths of the sent READs, by cookie, because a simple reply does not have its length. */
  readonly #reads = new Map<number, number>()

  constructor(stream: Duplex) {
    this.stream = stream
    stream.on('data', (chunk: Buffer) => this.#queue.push(chunk))
    stream.on('error', () => {})
    this.closed = new Promise((resolve) => stream.on('close', resolve))
    this.#ended = new Promise((resolve) => stream.on('end', resolve).on('close', resolve))
    void this.#ended.then(() => this.#queue.end(new Error('the server closed the connection')))
  }

  /** Connects to a Unix socket or a TCP port. */
  static async connect(target: { path: string } | { port: number }): Promise<RawClient> {
    const socket = connect({ ...target, allowHalfOpen: true } as NetConnectOpts)
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return new RawClient(socket)
  }

  /** Returns the next bytes. Rejects where the server closes first. */
  take(length: number): Promise<Buffer> {
    return this.#queue.take(length)
  }

  /** Returns all bytes that the server sends until it closes. */
  async rest(): Promise<Buffer> {
    await this.#ended
    return this.#queue.takeRest()
  }

  send(bytes: Uint8Array): void {
    this.stream.write(bytes)
  }

  /** Takes the greeting and answers it. Returns the server's handshake flags. */
  async greet(clientFlags = 3): Promise<number> {
    const greeting = await this.take(18)
    const flags = Buffer.alloc(4)
    flags.writeUInt32BE(clientFlags)
    this.send(flags)
    return greeting.readUInt16BE(16)
  }

  sendOption(option: number, data: Uint8Array = Buffer.alloc(0), length = data.length): void {
    const header = Buffer.alloc(16)
    header.writeUInt32BE(NBD_IHAVEOPT[0], 0)
    header.writeUInt32BE(NBD_IHAVEOPT[1], 4)
    header.writeUInt32BE(option, 8)
    header.writeUInt32BE(length, 12)
    this.send(Buffer.concat([header, data]))
  }

  async optionReply(): Promise<OptionReply> {
    const header = await this.take(20)
    const data = await this.take(header.readUInt32BE(16))
    return { option: header.readUInt32BE(8), type: header.readUInt32BE(12), data }
  }

  /** Sends an option. Returns its replies; the last one ends the option. */
  async option(option: number, data?: Uint8Array): Promise<OptionReply[]> {
    this.sendOption(option, data)
    const replies: OptionReply[] = []
    for (;;) {
      const reply = await this.optionReply()
      replies.push(reply)
      if (reply.type === NBD_REP_ACK || reply.type >= 0x80000000) return replies
    }
  }

  /**
   * Goes from the greeting to the transmission phase. Returns the server's facts about the export, and the
   * ids of the contexts by name.
   */
  async go(
    options: { name?: string; structured?: boolean; extended?: boolean; contexts?: readonly string[] } = {},
  ): Promise<{ size: number; flags: number; contexts: Map<string, number> }> {
    const { name = '', contexts: queries = [] } = options
    await this.greet()
    if (options.structured) await this.option(NBD_OPT_STRUCTURED_REPLY)
    if (options.extended) await this.option(NBD_OPT_EXTENDED_HEADERS)
    this.extended = options.extended ?? false
    const contexts = new Map<string, number>()
    if (queries.length > 0)
      for (const { type, data } of await this.option(
        NBD_OPT_SET_META_CONTEXT,
        metaContextData(name, queries),
      ))
        if (type === NBD_REP_META_CONTEXT) contexts.set(data.toString('utf8', 4), data.readUInt32BE(0))
    const replies = await this.option(NBD_OPT_GO, infoData(name))
    const last = replies.at(-1)
    if (last?.type !== NBD_REP_ACK)
      throw new Error(`NBD_OPT_GO: 0x${last?.type.toString(16)} ${last?.data.toString()}`)
    const info = replies.find(({ type, data }) => type === NBD_REP_INFO && data.readUInt16BE(0) === 0)?.data
    if (!info) throw new Error('NBD_OPT_GO was answered without NBD_INFO_EXPORT')
    return { size: getUint64(viewOf(info), 2), flags: info.readUInt16BE(10), contexts }
  }

  sendRequest(request: RawRequest): void {
    this.expectReplies([request])
    this.send(encodeRequest(request, this.extended))
  }

  /** Announces requests that are sent as bytes, so that the length of each simple reply is known. */
  expectReplies(requests: readonly RawRequest[]): void {
    for (const { type, cookie = 0, length = 0 } of requests)
      this.#reads.set(cookie, type === 0 ? Number(length) : 0)
  }

  /** Returns the next simple reply or chunk. */
  async reply(): Promise<ReplyPart> {
    const magic = (await this.take(4)).readUInt32BE()
    if (magic === NBD_SIMPLE_REPLY_MAGIC) {
      const header = await this.take(12)
      const cookie = Number(header.readBigUInt64BE(4))
      const error = header.readUInt32BE(0)
      const data = await this.take(error === 0 ? (this.#reads.get(cookie) ?? 0) : 0)
      return { cookie, error, message: '', type: undefined, done: true, data }
    }
    const expected = this.extended ? NBD_EXTENDED_REPLY_MAGIC : NBD_STRUCTURED_REPLY_MAGIC
    if (magic !== expected) throw new Error(`a reply begins with 0x${magic.toString(16)}`)
    const header = await this.take(this.extended ? 28 : 16)
    const type = header.readUInt16BE(2)
    const data = await this.take(this.extended ? Number(header.readBigUInt64BE(20)) : header.readUInt32BE(12))
    const failed = type >= 0x8000
    return {
      cookie: Number(header.readBigUInt64BE(4)),
      error: failed ? data.readUInt32BE(0) : 0,
      message: type === NBD_REPLY_TYPE_ERROR ? data.toString('utf8', 6, 6 + data.readUInt16BE(4)) : '',
      type,
      done: (header.readUInt16BE(0) & NBD_REPLY_FLAG_DONE) !== 0,
      data,
    }
  }

  /** Sends a request, and returns the parts of its reply. For one request at a time. */
  async request(request: RawRequest): Promise<ReplyPart[]> {
    this.sendRequest(request)
    const parts: ReplyPart[] = []
    for (;;) {
      const part = await this.reply()
      parts.push(part)
      if (part.done) return parts
    }
  }
}

/** Encodes a request. */
export function encodeRequest(request: RawRequest, extended = false): Buffer {
  const { type, flags = 0, cookie = 0, offset = 0, length = 0, payload = Buffer.alloc(0) } = request
  const header = Buffer.alloc(extended ? 32 : 28)
  header.writeUInt32BE(request.magic ?? (extended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC), 0)
  header.writeUInt16BE(flags, 4)
  header.writeUInt16BE(type, 6)
  header.writeBigUInt64BE(BigInt(cookie), 8)
  header.writeBigUInt64BE(BigInt(offset), 16)
  if (extended) header.writeBigUInt64BE(BigInt(length), 24)
  else header.writeUInt32BE(Number(length), 24)
  return Buffer.concat([header, payload])
}

/** Encodes the data of NBD_OPT_INFO and NBD_OPT_GO. */
export function infoData(name: string, requests: readonly number[] = []): Buffer {
  const bytes = Buffer.from(name)
  const data = Buffer.alloc(6 + bytes.length + 2 * requests.length)
  data.writeUInt32BE(bytes.length, 0)
  bytes.copy(data, 4)
  data.writeUInt16BE(requests.length, 4 + bytes.length)
  for (const [index, request] of requests.entries()) data.writeUInt16BE(request, 6 + bytes.length + 2 * index)
  return data
}

/** Encodes the data of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT. */
export function metaContextData(name: string, queries: readonly string[]): Buffer {
  const count = Buffer.alloc(4)
  count.writeUInt32BE(queries.length)
  return Buffer.concat([counted(name), count, ...queries.map(counted)])
}

function counted(text: string): Buffer {
  const bytes = Buffer.from(text)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}
