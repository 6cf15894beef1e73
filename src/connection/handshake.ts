/**
 * The handshake, from the greeting to an agreement: one function for each option (NBD spec, "Handshake").
 * This is the control plane, so the code is async and straight-line.
 */
import { type Device, unknownBlockSize } from '../api/device.js'
import { clientMessageOf } from '../api/error-text.js'
import { ProtocolError } from '../api/errors.js'
import { stringBytes } from '../protocol/bytes.js'
import {
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_NAME,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_LIST_META_CONTEXT,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STARTTLS,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ACK,
  NBD_REP_ERR_EXT_HEADER_REQD,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_PLATFORM,
  NBD_REP_ERR_SHUTDOWN,
  NBD_REP_ERR_TOO_BIG,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
  NBD_REP_INFO,
  NBD_REP_META_CONTEXT,
} from '../protocol/constants.js'
import {
  decodeInfo,
  decodeMetaContextQuery,
  decodeName,
  decodeOptionHeader,
  encodeExport,
  encodeGreeting,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoString,
  encodeMetaContext,
  encodeOldstyle,
  encodeOptionReply,
  type Name,
  optionHeaderBytes,
} from '../protocol/handshake.js'
import { optionBytesMax, optionDrainBytesMax, optionsMax, stringBytesMax } from '../protocol/limits.js'
import type { ReplyMode } from '../protocol/reply.js'
import { type Agreement, maximumPayload, transmissionFlags } from './agreement.js'

import type { HeldList } from './export-list.js'
import { contextsOf, matchContexts } from './meta-contexts.js'

/** What the handshake needs from its connection. */
export interface Session {
  readonly settings: HandshakeSettings
  readonly readOnly: boolean
  /** True once no client may reach an export any more. */
  draining(): boolean
  /** Resolves with the next `length` bytes; rejects when the client is gone. */
  take(length: number): Promise<Buffer>
  /** Resolves when more may be sent to the client. */
  send(bytes: Uint8Array): Promise<void>
  /** Resolves when this handshake may go on. Handshakes take turns. */
  turn(): Promise<void>
  /** The client has answered the greeting. */
  greeted(): void
  /** Tells whether an option is being handled, until the next call. */
  optionInHand(inHand: boolean): void
  exports(): Promise<HeldList>
  /** Resolves an empty name to the default export's name, and returns any other name unchanged. */
  canonicalName(name: string): Promise<string>
  /** Opens an export, or returns the one that is already open. Rejects with the error of a layer. */
  open(name: string): Promise<Device>
  debug(message: () => string): void
}

export interface HandshakeSettings {
  readonly oldstyle: boolean
  readonly maskHandshake: number
  readonly structuredReplies: boolean
  readonly metaContexts: boolean
  readonly severalClients: boolean
}

/**
 * Undefined where the client left or was told to leave. Rejects where the client broke the protocol or is
 * gone.
 */
export async function shakeHands(session: Session): Promise<Agreement | undefined> {
  return session.settings.oldstyle ? oldstyle(session) : new Handshake(session).run()
}

async function oldstyle(session: Session): Promise<Agreement> {
  const device = await session.open('')
  const { severalClients } = session.settings
  const readOnly = isReadOnly(device, session)
  const mode = 'simple'
  const agreement = {
    exportName: '',
    device,
    readOnly,
    mode,
    severalClients,
    contexts: [],
    contextCount: 0,
  } as const
  await session.send(encodeOldstyle(device.size, transmissionFlags(agreement)))
  return agreement
}

function isReadOnly(device: Device, session: Session): boolean {
  return session.readOnly || !device.can.write
}

/** One option as received. `data` is empty where it was too long to be held. */
interface Option {
  readonly option: number
  readonly data: Buffer
  readonly length: number
}

class Handshake {
  readonly #session: Session
  #mode: ReplyMode = 'simple'
  #noZeroes = false
  #fixed = false
  /** Contexts of the last SET_META_CONTEXT, which hold for one export name. */
  #selected: { readonly exportName: string; readonly names: readonly string[] } | undefined

  constructor(session: Session) {
    this.#session = session
  }

  async run(): Promise<Agreement | undefined> {
    await this.#greet()
    for (let count = 0; count < optionsMax; count++) {
      const option = await this.#next()
      await this.#session.turn()
      this.#session.optionInHand(true)
      if (option.option === NBD_OPT_ABORT) {
        await this.#reply(option, NBD_REP_ACK)
        return undefined
      }
      if (this.#session.draining()) {
        if (option.option === NBD_OPT_EXPORT_NAME) return undefined
        await this.#refuseShutdown(option)
      } else {
        const agreement = await this.#handle(option)
        if (agreement) return agreement
      }
      this.#session.optionInHand(false)
    }
    throw new ProtocolError(`more than ${optionsMax} options in one handshake`)
  }

  async #greet(): Promise<void> {
    const flags = (NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES) & this.#session.settings.maskHandshake
    await this.#session.send(encodeGreeting(flags))
    const clientFlags = (await this.#session.take(4)).readUInt32BE()
    // Each client flag has the bit of the server flag that it answers.
    if (clientFlags & ~flags)
      throw new ProtocolError(`client flags 0x${clientFlags.toString(16)} not offered`)
    this.#fixed = (clientFlags & NBD_FLAG_C_FIXED_NEWSTYLE) !== 0
    this.#noZeroes = (clientFlags & NBD_FLAG_C_NO_ZEROES) !== 0
    this.#session.greeted()
  }

  async #next(): Promise<Option> {
    const header = decodeOptionHeader(await this.#session.take(optionHeaderBytes))
    if (header === undefined) throw new ProtocolError('an option begins with a wrong magic')
    const { option, length } = header
    if (length > optionDrainBytesMax) throw new ProtocolError(`option ${option} with ${length} bytes of data`)
    if (!this.#fixed && option !== NBD_OPT_EXPORT_NAME)
      throw new ProtocolError(`option ${option} from a client that did not set NBD_FLAG_C_FIXED_NEWSTYLE`)
    if (length <= optionBytesMax) return { option, length, data: await this.#session.take(length) }
    for (let rest = length; rest > 0; rest -= optionBytesMax)
      await this.#session.take(Math.min(rest, optionBytesMax))
    return { option, length, data: Buffer.alloc(0) }
  }

  async #handle(option: Option): Promise<Agreement | undefined> {
    this.#session.debug(() => `option ${option.option}, ${option.length} bytes`)
    switch (option.option) {
      case NBD_OPT_EXPORT_NAME:
        return this.#exportName(option)
      case NBD_OPT_LIST:
        return this.#withoutData(option, () => this.#list(option))
      case NBD_OPT_INFO:
      case NBD_OPT_GO:
        return this.#info(option)
      case NBD_OPT_STRUCTURED_REPLY:
        if (!this.#session.settings.structuredReplies) break
        return this.#withoutData(option, () => this.#structuredReply(option))
      case NBD_OPT_EXTENDED_HEADERS:
        if (!this.#session.settings.structuredReplies) break
        return this.#withoutData(option, () => this.#extendedHeaders(option))
      case NBD_OPT_LIST_META_CONTEXT:
      case NBD_OPT_SET_META_CONTEXT:
        if (!this.#session.settings.metaContexts) break
        return this.#metaContext(option)
      case NBD_OPT_STARTTLS:
        return this.#reply(option, NBD_REP_ERR_UNSUP, 'this server has no TLS')
    }
    return this.#reply(option, NBD_REP_ERR_UNSUP, `option ${option.option} is not known here`)
  }

  async #exportName({ data, length }: Option): Promise<Agreement | undefined> {
    const name = length > data.length ? { wrong: `a name of ${length} bytes` } : decodeName(data)
    // This option has no error reply, so the server can only end the session.
    if ('wrong' in name) throw new ProtocolError(`NBD_OPT_EXPORT_NAME: ${name.wrong}`)
    const device = await this.#session.open(name.text)
    if (this.#session.draining()) return undefined
    const agreement = this.#agree(device, name.text)
    await this.#session.send(encodeExport(device.size, transmissionFlags(agreement), this.#noZeroes))
    return agreement
  }

  async #list(option: Option): Promise<undefined> {
    let list: HeldList
    try {
      list = await this.#session.exports()
    } catch (error) {
      return this.#reply(option, NBD_REP_ERR_PLATFORM, clientMessageOf(error))
    }
    try {
      return await this.#sendList(option, list)
    } finally {
      list.end()
    }
  }

  async #sendList(option: Option, list: HeldList): Promise<undefined> {
    for (;;) {
      if (this.#session.draining()) return this.#refuseShutdown(option)
      const piece = list.piece()
      if (piece === undefined)
        return this.#reply(option, NBD_REP_ERR_PLATFORM, 'the list was not taken, and others want theirs')
      if (piece.length === 0) return this.#reply(option, NBD_REP_ACK)
      await this.#session.send(piece)
      await this.#session.turn()
    }
  }

  async #info(option: Option): Promise<Agreement | undefined> {
    const asked = option.length > option.data.length ? tooLong(option) : decodeInfo(option.data)
    if ('wrong' in asked) return this.#reject(option, asked)
    if ('wrong' in asked.name) return this.#reject(option, asked.name)
    const name = asked.name.text
    const device = await this.#open(option, name)
    if (device === undefined) return undefined
    const agreement = this.#agree(device, name)
    const infos = [encodeInfoExport(device.size, transmissionFlags(agreement))]
    for (const request of new Set(asked.requests)) {
      if (request === NBD_INFO_NAME)
        infos.push(encodeInfoString(NBD_INFO_NAME, await this.#session.canonicalName(name)))
      else if (request === NBD_INFO_DESCRIPTION && device.description !== '')
        infos.push(encodeInfoString(NBD_INFO_DESCRIPTION, device.description))
      else if (request === NBD_INFO_BLOCK_SIZE && hasConstraints(device))
        infos.push(
          encodeInfoBlockSize(device.blockSize.minimum, device.blockSize.preferred, maximumPayload(device)),
        )
    }
    const replies = infos.map((info) => encodeOptionReply(option.option, NBD_REP_INFO, info))
    await this.#session.send(Buffer.concat([...replies, encodeOptionReply(option.option, NBD_REP_ACK)]))
    return option.option === NBD_OPT_GO ? agreement : undefined
  }

  async #structuredReply(option: Option): Promise<undefined> {
    if (this.#mode === 'extended')
      return this.#reply(option, NBD_REP_ERR_EXT_HEADER_REQD, 'extended headers are negotiated already')
    this.#mode = 'structured'
    return this.#reply(option, NBD_REP_ACK)
  }

  async #extendedHeaders(option: Option): Promise<undefined> {
    if (this.#mode === 'extended')
      return this.#reply(option, NBD_REP_ERR_INVALID, 'extended headers are negotiated already')
    this.#mode = 'extended'
    return this.#reply(option, NBD_REP_ACK)
  }

  async #metaContext(option: Option): Promise<undefined> {
    const set = option.option === NBD_OPT_SET_META_CONTEXT
    // "Issuing this command replaces all previously-set metadata contexts (including when this command
    // fails)."
    if (set) this.#selected = undefined
    if (this.#mode === 'simple')
      return this.#reply(option, NBD_REP_ERR_INVALID, 'structured replies must be negotiated first')
    const asked = option.length > option.data.length ? tooLong(option) : decodeMetaContextQuery(option.data)
    if ('wrong' in asked) return this.#reject(option, asked)
    const wrong = [asked.name, ...asked.queries].find((name) => 'wrong' in name)
    if (wrong !== undefined && 'wrong' in wrong) return this.#reject(option, wrong)
    const name = textOf(asked.name)
    const queries = asked.queries.map(textOf)
    const bad = queries.find((query) => !query.includes(':'))
    if (bad !== undefined)
      return this.#reject(option, { wrong: `the query "${bad}" has no namespace and colon` })
    const device = await this.#open(option, name)
    if (device === undefined) return undefined
    const names = matchContexts(device, queries, set)
    if (set) this.#selected = { exportName: name, names }
    const replies = names.map((context, index) =>
      // Ids begin at 1. A list gives 0, which is no selected id.
      encodeOptionReply(option.option, NBD_REP_META_CONTEXT, encodeMetaContext(set ? index + 1 : 0, context)),
    )
    await this.#session.send(Buffer.concat([...replies, encodeOptionReply(option.option, NBD_REP_ACK)]))
    return undefined
  }

  /**
   * Opens an export for an option that can answer with an error, and sends that error where opening fails.
   */
  async #open(option: Option, name: string): Promise<Device | undefined> {
    try {
      const device = await this.#session.open(name)
      if (!this.#session.draining()) return device
      await this.#refuseShutdown(option)
    } catch (error) {
      await this.#reply(option, NBD_REP_ERR_UNKNOWN, clientMessageOf(error))
    }
    return undefined
  }

  #agree(device: Device, exportName: string): Agreement {
    const names = this.#selected?.exportName === exportName ? this.#selected.names : []
    const contexts = contextsOf(device, names)
    const readOnly = isReadOnly(device, this.#session)
    const { severalClients } = this.#session.settings
    const mode = this.#mode
    return { exportName, device, readOnly, mode, severalClients, contexts, contextCount: contexts.length }
  }

  async #withoutData(option: Option, handle: () => Promise<undefined>): Promise<undefined> {
    if (option.length === 0) return handle()
    return this.#reject(option, { wrong: `${option.length} bytes of data where none is expected` })
  }

  async #refuseShutdown(option: Option): Promise<undefined> {
    if (option.option === NBD_OPT_EXPORT_NAME) return undefined
    return this.#reply(option, NBD_REP_ERR_SHUTDOWN, 'the server is shutting down')
  }

  async #reject(
    option: Option,
    { wrong, tooMany = false }: { wrong: string; tooMany?: boolean },
  ): Promise<undefined> {
    return this.#reply(option, tooMany ? NBD_REP_ERR_TOO_BIG : NBD_REP_ERR_INVALID, wrong)
  }

  async #reply(option: Option, type: number, message = ''): Promise<undefined> {
    if (message !== '') this.#session.debug(() => `option ${option.option} refused: ${message}`)
    await this.#session.send(encodeOptionReply(option.option, type, stringBytes(message, stringBytesMax)))
    return undefined
  }
}

function tooLong(option: Option): { wrong: string; tooMany: true } {
  return {
    wrong: `option data of ${option.length} bytes: at most ${optionBytesMax} are taken`,
    tooMany: true,
  }
}

function textOf(name: Name): string {
  return 'text' in name ? name.text : ''
}

/** As in nbdkit, a server sends block sizes only where the device names them, whatever their values. */
function hasConstraints({ blockSize }: Device): boolean {
  return blockSize !== unknownBlockSize
}
