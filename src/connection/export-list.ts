/**
 * Lists of exports on their way to clients. A list goes in pieces, and a client that does not take the pieces
 * keeps the rest of the list in our memory: that memory is bounded for all clients together.
 */
import type { Export } from '../api/plugin.js'
import { NBD_OPT_LIST, NBD_REP_SERVER } from '../protocol/constants.js'
import { encodeOptionReply, encodeServer } from '../protocol/handshake.js'
import { listPieceBytes, listsBytesMax, stringBytesMax } from '../protocol/limits.js'

/** What an export takes beside its texts, in bytes. */
const exportCost = 100

/** One for all connections of a server. */
export class ListBudget {
  readonly #limitBytes: number
  /** Who has not taken a piece for longest comes first. */
  readonly #held = new Set<HeldList>()
  #bytes = 0

  constructor(limitBytes = listsBytesMax) {
    this.#limitBytes = limitBytes
  }

  /** Of the lists that are held, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /** Where all lists are too large together, those of the slowest clients are given up. */
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

  /** The next replies; of no length at the end; undefined where the list was given up. */
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

  /** The rest is forgotten. */
  end(): void {
    this.#exports = undefined
    this.#budget.release(this)
  }
}

/** A name that is too long, holds a NUL, or is no UTF-8: no client could ask for that export. */
function canBeAskedFor(name: string): boolean {
  return !/\0|\p{Surrogate}/u.test(name) && Buffer.byteLength(name) <= stringBytesMax
}
