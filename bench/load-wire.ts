/** One connection of the load client: a socket that receives into one buffer, and its handshake. */
import { connect, type Socket } from 'node:net'
import { ByteQueue } from '../src/protocol/byte-queue.js'
import { getUint64, viewOf } from '../src/protocol/bytes.js'
import {
  NBD_CMD_DISC,
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_IHAVEOPT,
  NBD_INFO_EXPORT,
  NBD_MAGIC,
  NBD_OPT_GO,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ACK,
  NBD_REP_ERR_UNSUP,
  NBD_REP_INFO,
  NBD_REP_MAGIC,
} from '../src/protocol/constants.js'
import { optionHeaderBytes } from '../src/protocol/handshake.js'
import { optionBytesMax } from '../src/protocol/limits.js'
import { encodeRequest, infoData } from '../src/testing/raw-client.js'

/** The address of a server, and the name of one of its exports. */
export interface Target {
  readonly address: { readonly path: string } | { readonly port: number; readonly host: string }
  readonly exportName: string
}

/** Parses `nbd://HOST:PORT/NAME` and `nbd+unix:///NAME?socket=PATH`. */
export function parseTarget(uri: string): Target {
  const url = URL.canParse(uri) ? new URL(uri) : undefined
  const exportName = decodeURIComponent(url?.pathname.replace(/^\/+/, '') ?? '')
  const path = url?.searchParams.get('socket')
  if (url?.protocol === 'nbd+unix:' && path) return { address: { path }, exportName }
  if (url?.protocol === 'nbd:' && url.port !== '')
    return { address: { host: url.hostname, port: Number(url.port) }, exportName }
  throw new Error(`"${uri}" is no URI of a server: expected nbd://HOST:PORT or nbd+unix:///?socket=PATH`)
}

/** Receives the first `length` bytes of the buffer, which are valid only until it returns. */
export type Receive = (length: number) => void

const disconnect = encodeRequest({ type: NBD_CMD_DISC })

export class Wire {
  readonly socket: Socket
  /** The buffer that `receive` reads from. */
  readonly buffer: Buffer
  /** Resolves when the connection was closed after `disconnect`. Rejects when anything else ends it. */
  readonly closed: Promise<void>
  /** The size of the export, once it is open. */
  size = 0
  readonly #target: Target
  readonly #queue = new ByteQueue()
  #receive: Receive = (length) => this.#queue.push(this.buffer.subarray(0, length))
  #failure: Error | undefined
  #isEnding = false

  /** Connections may share a buffer: its content is processed before the next connection receives. */
  constructor(target: Target, buffer: Buffer) {
    this.#target = target
    this.buffer = buffer
    const callback = (length: number) => {
      try {
        this.#receive(length)
      } catch (error) {
        this.fail(error as Error)
      }
      return true
    }
    this.socket = connect({ ...target.address, noDelay: true, onread: { buffer, callback } })
    this.socket.on('error', (error) => this.fail(error))
    this.closed = new Promise((resolve, reject) => {
      this.socket.on('close', () => {
        if (!this.#isEnding) this.#failure ??= new Error('the server closed the connection')
        if (this.#failure) this.#queue.end(this.#failure)
        if (this.#failure) reject(this.#failure)
        else resolve()
      })
    })
    // Callers that wait for the handshake get the error from there.
    this.closed.catch(() => {})
  }

  fail(error: Error): void {
    this.#failure ??= error
    this.socket.destroy()
  }

  /** Goes from the greeting to the transmission phase. Later bytes go to `receive`. */
  async open(options: { structured: boolean; receive: Receive }): Promise<void> {
    const greeting = viewOf(await this.#queue.take(18))
    expectMagic(greeting, 0, NBD_MAGIC, 'the greeting')
    expectMagic(greeting, 8, NBD_IHAVEOPT, 'the greeting')
    const go = option(NBD_OPT_GO, infoData(this.#target.exportName))
    const first = options.structured ? [option(NBD_OPT_STRUCTURED_REPLY)] : []
    this.socket.write(Buffer.concat([clientFlags, ...first, go]))
    if (options.structured) await this.#optionReplies(NBD_OPT_STRUCTURED_REPLY)
    await this.#optionReplies(NBD_OPT_GO)
    this.#receive = options.receive
  }

  disconnect(): void {
    this.#isEnding = true
    this.socket.end(disconnect)
  }

  async #optionReplies(asked: number): Promise<void> {
    for (;;) {
      const header = viewOf(await this.#queue.take(20))
      expectMagic(header, 0, NBD_REP_MAGIC, 'an option reply')
      const [type, length] = [header.getUint32(12), header.getUint32(16)]
      if (header.getUint32(8) !== asked || length > optionBytesMax)
        throw new Error(`an option reply of ${length} bytes to option ${header.getUint32(8)}, not ${asked}`)
      const data = await this.#queue.take(length)
      if (type === NBD_REP_ACK) return
      if (type >= NBD_REP_ERR_UNSUP)
        throw new Error(`option ${asked} was refused: 0x${type.toString(16)} ${data.toString()}`)
      if (type === NBD_REP_INFO && data.readUInt16BE(0) === NBD_INFO_EXPORT)
        this.size = getUint64(viewOf(data), 2)
    }
  }
}

const clientFlags = Buffer.alloc(4)
clientFlags.writeUInt32BE(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES)

// C: 64 bits IHAVEOPT, 32 bits option, 32 bits length, data
function option(type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(optionHeaderBytes)
  header.writeUInt32BE(NBD_IHAVEOPT[0], 0)
  header.writeUInt32BE(NBD_IHAVEOPT[1], 4)
  header.writeUInt32BE(type, 8)
  header.writeUInt32BE(data.length, 12)
  return Buffer.concat([header, data])
}

function expectMagic(view: DataView, at: number, magic: readonly [number, number], where: string): void {
  if (view.getUint32(at) === magic[0] && view.getUint32(at + 4) === magic[1]) return
  const found = view.getBigUint64(at).toString(16)
  throw new Error(`${where} has the magic 0x${found} at ${at}: this is no NBD server of the newstyle`)
}
