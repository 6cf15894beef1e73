/**
 * Lists of exports being sent to clients. A list is sent in pieces, and a client that does not take the
 * pieces keeps the rest of the list in our memory. That memory is bounded for all clients together.
 */
import type { Export } from '../api/plugin.js'
import { NBD_OPT_LIST, NBD_REP_SERVER } from '../protocol/constants.js'
import { encodeOptionReply, encodeServer } from '../protocol/handshake.js'
import { stringBytesMax } from '../protocol/limits.js'
import { listPieceBytes, listsBytesMax } from './tuning.js'

/** Memory that an export takes beside its texts, in bytes. */
const exportCost = 100

/** One for all connections of a server. */
export class ListBudget {
  readonly #limitBytes: number
  /** Ordered: the list whose client has not taken a piece for longest comes first. */
  readonly #held = new Set<HeldList>()
  #bytes = 0

  constructor(limitBytes = listsBytesMax) {
    this.#limitBytes = limitBytes
  }

  /** Bytes in all lists that are held. */
  get bytes(): number {
    return this.#bytes
  }

  /** Holds a list. Where all lists together are too large, gives up those of the slowest clients. */
  hold(exports: readonly Export[]): HeldList {
    const list = new HeldList(exports, this)
    this.#held.add(list)
    this.#bytes += list.bytes
    for (const slowest of this.#held) {
      if (this.#bytes <= this.#limitBytes || slowest === list) break
      slowest.end()
    }
    return list
  }

  taken(list: HeldList): void {
    if (this.#held.delete(list)) this.#held.add(list)
  }

  release(list: HeldList): void {
    if (this.#held.delete(list)) this.#bytes -= list.bytes
  }
}

/** The list of one client. */
export class HeldList {
  /** An estimate. */
  readonly bytes: number
  readonly #budget: ListBudget
  #exports: readonly Export[] | undefined
  #next = 0

  constructor(exports: readonly Export[], budget: ListBudget) {
    this.#exports = exports
    this.#budget = budget
    this.bytes = exports.reduce(
      (sum, { name, description = '' }) => sum + exportCost + name.length + description.length,
      0,
    )
  }

  /** Returns the next replies: an empty buffer at the end, undefined where the list was given up. */
  piece(): Buffer | undefined {
    const exports = this.#exports
    if (exports === undefined) return undefined
    this.#budget.taken(this)
    const replies: Buffer[] = []
    for (let bytes = 0; bytes < listPieceBytes && this.#next < exports.length; this.#next++) {
      const { name = '', description = '' } = exports[this.#next] ?? {}
      if (!canBeAskedFor(name)) continue
      const reply = encodeOptionReply(
        NBD_OPT_LIST,
        NBD_REP_SERVER,
        encodeServer(name, description.slice(0, stringBytesMax)),
      )
      replies.push(reply)
      bytes += reply.length
    }
    return Buffer.concat(replies)
  }

  /** Forgets the rest. */
  end(): void {
    this.#exports = undefined
    this.#budget.release(this)
  }
}

/** False for a name that is too long, holds a NUL, or is not UTF-8: no client could ask for that export. */
function canBeAskedFor(name: string): boolean {
  return !/\0|\p{Surrogate}/u.test(name) && Buffer.byteLength(name) <= stringBytesMax
}
