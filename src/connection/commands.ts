/** Runs validated requests on the device and answers them. Synchronous wherever the device is. */
import type { Alloc, Data, WriteFlags } from '../api/device.js'
import { clientMessageOf } from '../api/error-text.js'
import { isA, NbdError } from '../api/errors.js'
import type { Log } from '../api/log.js'
import { andThen, isPromise, type MaybePromise } from '../api/maybe.js'
import { failureOf } from '../chain/blame.js'
import {
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EINVAL,
  NBD_ENOTSUP,
  NBD_EOVERFLOW,
} from '../protocol/constants.js'
import { errorName, errorNumber } from '../protocol/errno.js'
import type { ReplyMode } from '../protocol/reply.js'
import type { Request } from '../protocol/request.js'
import type { Agreement, MetaContext } from './agreement.js'
import { blockStatus, decodeStatusPayload } from './block-status.js'
import type { BufferPool } from './buffer-pool.js'
import type { Gate } from './concurrency.js'
import type { MemoryShare } from './memory-budget.js'
import type { ReplyQueue } from './reply-queue.js'
import { copyBytesMax, inFlightAlways, inFlightBytesMax, largeBytesMin } from './tuning.js'
import { commandName, type Refusal, refusal } from './validate.js'

/** Totals for one client so far. */
export interface Counts {
  readonly requests: number
  readonly bytesRead: number
  readonly bytesWritten: number
}

/** Events that commands report to their connection. */
export interface CommandEvents {
  /** A request that had to wait was answered. */
  settled(): void
  /** Code that must not throw threw in the middle of a reply. */
  bug(error: unknown): void
}

/** What commands work with. */
export interface CommandParts {
  readonly agreement: Agreement
  readonly replies: ReplyQueue
  readonly pool: BufferPool
  readonly gate: Gate
  /** Bytes of requests in flight, where there are more than `inFlightAlways`. */
  readonly waitingBytesMax: number
  readonly share: MemoryShare
  readonly log: Log
  readonly events: CommandEvents
}

/** The data of a read, nothing, or the runs of block status for each context. */
type Answer = Data | undefined | StatusAnswer
class StatusAnswer {
  readonly contexts: readonly MetaContext[]
  readonly runs: readonly number[][]
  constructor(contexts: readonly MetaContext[], runs: readonly number[][]) {
    this.contexts = contexts
    this.runs = runs
  }
}

/** Reads served from the pool after an async one, which cost a reply buffer of 64 KiB. */
const pooledReadsMax = 64

export class Commands {
  readonly #agreement: Agreement
  readonly #replies: ReplyQueue
  readonly #pool: BufferPool
  readonly #gate: Gate
  readonly #waitingBytesMax: number
  readonly #share: MemoryShare
  readonly #log: Log
  readonly #events: CommandEvents
  #inFlight = 0
  #inFlightBytes = 0
  /** Bytes of the memory budget held for data that the client has not taken yet. */
  #untakenBytes = 0
  #muted = false
  /** Memory lent by the device, which receives the current payload. */
  #lent: Uint8Array | undefined
  readonly counts = { requests: 0, bytesRead: 0, bytesWritten: 0 }
  /** True during a device call that may get memory in the reply buffer. */
  #placing = false
  /** Reads left that get no memory in the reply buffer, because the device made an earlier one wait. */
  #pooledReads = 0

  constructor({ agreement, replies, pool, gate, waitingBytesMax, share, log, events }: CommandParts) {
    this.#agreement = agreement
    this.#replies = replies
    this.#pool = pool
    this.#gate = gate
    this.#waitingBytesMax = waitingBytesMax
    this.#share = share
    this.#log = log
    this.#events = events
  }

  /** Requests that wait for their device. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** True when the next request has to wait. */
  get full(): boolean {
    const bytes = this.#inFlightBytes
    const isMuch = this.#inFlight >= inFlightAlways && bytes >= this.#waitingBytesMax
    return this.#gate.full || isMuch || bytes >= inFlightBytesMax
  }

  /** Releases the memory held for replies: the client has taken them all. */
  taken(): void {
    if (this.#untakenBytes === 0) return
    const bytes = this.#untakenBytes
    this.#untakenBytes = 0
    this.#share.release(bytes)
  }

  /** Discards all answers from now on, and the payload that has not fully arrived. */
  mute(): void {
    this.#muted = true
    this.abandon()
  }

  /** Gives the current payload's lent memory back to the device: no write follows. */
  abandon(): void {
    const lent = this.#lent
    this.#lent = undefined
    if (lent) this.#giveBack(lent)
  }

  /**
   * Runs a valid request on the device and answers it. Returns undefined when the request is done. Otherwise
   * returns a promise that resolves, and never rejects, when the device no longer needs `payload`.
   */
  run(request: Request, payload: Uint8Array, contexts = this.#agreement.contexts): Promise<void> | undefined {
    let answer: MaybePromise<Answer>
    try {
      answer = this.#call(request, payload, contexts)
    } catch (error) {
      this.#fail(request, error)
      return undefined
    }
    if (isPromise(answer)) return this.#wait({ ...request }, answer, payload.length)
    // An exception here must not become an error reply: part of the reply may be queued already, and nothing
    // may follow that part.
    this.#answer(request, answer)
    return undefined
  }

  /** Ends a READ on the device. While its data is held, so is its share of the memory budget. */
  #release(request: Request, held: boolean): void {
    const bytes = readBudget(request)
    if (held) this.#untakenBytes += bytes
    else this.#share.release(bytes)
  }

  /**
   * Memory of the device to receive a payload into, or undefined where the device lends none. An exception is
   * not reported to the client: the write that follows takes the usual path and fails by itself.
   */
  window({ offset, length }: Request): Uint8Array | undefined {
    try {
      this.#lent = this.#agreement.device.window(offset, length)
    } catch (error) {
      if (!isA(error, NbdError)) this.#log.error(failureOf(error, this.#log.debugging))
    }
    return this.#lent
  }

  #writeLent(offset: number, lent: Uint8Array, flags: WriteFlags): MaybePromise<void> {
    // The write is now in flight, so the device may lend memory for the next payload.
    this.#lent = undefined
    let done: MaybePromise<void>
    try {
      done = this.#agreement.device.write(offset, lent, flags)
    } catch (error) {
      this.#giveBack(lent)
      throw error
    }
    if (isPromise(done)) return done.finally(() => this.#giveBack(lent))
    this.#giveBack(lent)
  }

  #giveBack(lent: Uint8Array): void {
    try {
      this.#agreement.device.release(lent)
    } catch (error) {
      this.#log.error(failureOf(error, this.#log.debugging))
    }
  }

  /** Answers a request that must not reach the device. */
  refuse(request: Request, { error, message }: Refusal): void {
    if (this.#log.debugging) this.#log.debug(`${message}: ${errorName(error)}`, 'datapath')
    this.#replies.error(request, error, message)
  }

  /** Answers a request that failed in the device. */
  #fail(request: Request, error: unknown): void {
    this.counts.requests++
    this.#release(request, false)
    if (this.#muted) return
    const number = wireError(errorNumber(error), request, this.#agreement.mode)
    const what = `${commandName(request.type)} ${request.length} at ${request.offset}`
    this.#log.error(failureOf(error, this.#log.debugging, what, `: ${errorName(number)}`))
    this.#replies.error(request, number, clientMessageOf(error))
  }

  #call(request: Request, payload: Uint8Array, contexts: readonly MetaContext[]): MaybePromise<Answer> {
    const { device } = this.#agreement
    const { type, flags, offset, length } = request
    const fua = (flags & NBD_CMD_FLAG_FUA) !== 0
    switch (type) {
      case NBD_CMD_READ:
        return this.#read(offset, length)
      case NBD_CMD_WRITE:
        return (
          payload === this.#lent
            ? this.#writeLent(offset, payload, fua ? withFua : withoutFua)
            : device.write(offset, payload, fua ? withFua : withoutFua)
        ) as MaybePromise<undefined>
      case NBD_CMD_FLUSH:
        return device.flush() as MaybePromise<undefined>
      case NBD_CMD_TRIM:
        return device.trim(offset, length, fua ? withFua : withoutFua) as MaybePromise<undefined>
      case NBD_CMD_CACHE:
        return device.cache(offset, length) as MaybePromise<undefined>
      case NBD_CMD_WRITE_ZEROES: {
        const mayTrim = (flags & NBD_CMD_FLAG_NO_HOLE) === 0
        const fast = (flags & NBD_CMD_FLAG_FAST_ZERO) !== 0
        return device.zero(offset, length, { fua, mayTrim, fast }) as MaybePromise<undefined>
      }
      default:
        return this.#status(request, contexts)
    }
  }

  /** Reads. A device that answers at once fills a short answer directly into the reply buffer. */
  #read(offset: number, length: number): MaybePromise<Data> {
    const { device } = this.#agreement
    if (this.#pooledReads > 0) this.#pooledReads--
    if (this.#pooledReads > 0 || length > copyBytesMax) return device.read(offset, length, this.#pool.lend)
    this.#placing = true
    try {
      const data = device.read(offset, length, this.#place)
      // The device keeps filling this memory while other replies are queued. The reads that follow get none.
      if (isPromise(data) && this.#replies.detach()) this.#pooledReads = pooledReadsMax
      return data
    } finally {
      this.#placing = false
    }
  }

  #place: Alloc = (length, content) => {
    const place = this.#placing && length <= copyBytesMax ? this.#replies.reserve(length) : undefined
    if (place === undefined) return this.#pool.lend(length, content)
    return content === 'uninitialized' ? place : place.fill(0)
  }

  /** Runs BLOCK_STATUS with a payload, which names the contexts and the length. */
  runStatusPayload(request: Request, payload: Uint8Array): void {
    const filter = decodeStatusPayload(payload)
    const { contexts } = this.#agreement
    const chosen = contexts.filter(({ id }) => filter?.ids.includes(id))
    const effective = { ...request, length: filter?.length ?? 0 }
    const refused =
      // Each id must appear once and must have been negotiated.
      filter === undefined || chosen.length !== filter.ids.length
        ? {
            error: NBD_EINVAL,
            message: `block status: ids that were not negotiated, or ${payload.length} bytes of them`,
          }
        : refusal(effective, this.#agreement)
    if (refused) this.refuse(effective, refused)
    else void this.run(effective, noBytes, chosen)
  }

  #status({ offset, length, flags }: Request, contexts: readonly MetaContext[]): MaybePromise<StatusAnswer> {
    const { device, mode } = this.#agreement
    const one = (flags & NBD_CMD_FLAG_REQ_ONE) !== 0
    const runs = blockStatus(device.extents, contexts, { offset, length, size: device.size, one, mode })
    return andThen(runs, (done) => new StatusAnswer(contexts, done))
  }

  #answer(request: Request, answer: Answer): void {
    this.counts.requests++
    if (request.type === NBD_CMD_READ) this.counts.bytesRead += request.length
    else if (request.type === NBD_CMD_WRITE) this.counts.bytesWritten += request.length
    if (this.#muted) {
      this.#release(request, false)
      return
    }
    if (answer instanceof StatusAnswer) {
      for (const [index, runs] of answer.runs.entries()) {
        const id = answer.contexts[index]?.id ?? 0
        this.#replies.status(request, id, runs, index === answer.runs.length - 1)
      }
    } else if (request.type === NBD_CMD_READ && answer !== undefined)
      this.#release(request, this.#replies.data(request, answer))
    else this.#replies.done(request)
  }

  #wait(request: Request, answer: Promise<Answer>, payloadBytes: number): Promise<void> {
    const bytes = request.type === NBD_CMD_READ ? request.length : payloadBytes
    this.#gate.enter()
    this.#inFlight++
    this.#inFlightBytes += bytes
    return answer.then(
      (value) => this.#settled(bytes, () => this.#answer(request, value)),
      (error: unknown) => this.#settled(bytes, () => this.#fail(request, error)),
    )
  }

  #settled(bytes: number, reply: () => void): void {
    try {
      reply()
    } catch (error) {
      this.#events.bug(error)
    }
    this.#inFlight--
    this.#inFlightBytes -= bytes
    this.#gate.leave()
    this.#events.settled()
  }
}

/** Maps two errors to EINVAL unless the client's request allows them ("Error values"). */
function wireError(error: number, { type, flags }: Request, mode: ReplyMode): number {
  if (error === NBD_ENOTSUP && !(type === NBD_CMD_WRITE_ZEROES && flags & NBD_CMD_FLAG_FAST_ZERO))
    return NBD_EINVAL
  if (error === NBD_EOVERFLOW && !(type === NBD_CMD_READ && mode !== 'simple')) return NBD_EINVAL
  return error
}

/**
 * Bytes of the memory budget that a READ takes before it runs. A WRITE takes memory as its payload arrives.
 */
export function readBudget({ type, length }: Request): number {
  return type === NBD_CMD_READ && length >= largeBytesMin ? length : 0
}

const noBytes = new Uint8Array(0)
const withFua = Object.freeze({ fua: true })
const withoutFua = Object.freeze({ fua: false })
