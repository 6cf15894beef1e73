/** How much a connection holds, and how it divides its work: each with its unit and its reason. */
import { payloadBytesMax } from '../protocol/limits.js'

const KiB = 1024
const MiB = 1024 * KiB

/**
 * Size of the pieces in which replies of one list are sent. Each is sent once the client has taken enough of
 * the pieces before.
 */
export const listPieceBytes = 16 * KiB

/** Memory for lists that clients have not taken, for all clients together: ten of the largest usual lists. */
export const listsBytesMax = 32 * MiB

/** Handshake replies that one client has not taken. Above this, the next option waits. */
export const untakenBytesMax = 64 * KiB

/**
 * The same for all clients together. Above this, an option is handled only once its client has taken all
 * replies.
 */
export const untakenTotalBytesMax = 16 * MiB

/** Bytes that a client may send ahead of the current option. */
export const aheadBytesMax = 4 * KiB

/**
 * Requests of one connection that may wait for their device at once, unless the server sets another limit. A
 * disk that takes 1 ms then answers 45,000 requests a second of one client; with 16, as in nbdkit, 13,000.
 */
export const inFlightMax = 64

/** So many may wait whatever their length. More may wait while all of them have fewer than `waitingBytes`. */
export const inFlightAlways = 16
export const waitingBytes = 2 * MiB

/**
 * Bytes of data in those requests, so that the largest do not add up. One of the largest is always let
 * in.
 */
export const inFlightBytesMax = 64 * MiB

/**
 * A READ or WRITE of this size or more counts against the memory budget. Shorter ones are bounded by what one
 * connection may have in flight and unsent.
 */
export const largeBytesMin = 128 * KiB

/** Memory shared by the large requests of all clients: two of the largest. */
export const budgetBytes = 2 * payloadBytesMax

/**
 * Memory divided among the connections. A request that fits into its connection's share never waits for
 * another client. Many connections get small shares, few get large ones.
 */
export const sharesBytes = 32 * MiB
export const shareBytesMin = 256 * KiB
export const shareBytesMax = 4 * MiB

/** A large payload takes memory in steps of this size, as its bytes arrive. */
export const payloadStepBytes = MiB

/**
 * A client that holds common memory while others wait is dropped when it moves less than `paceBytesMin` in
 * `stallMs`: 64 KiB a second, less than any link on which a disk is usable.
 */
export const stallMs = 10_000
export const paceBytesMin = 640 * KiB

/**
 * How long requests of one client run before other clients get a turn, in ms. A client may send thousands of
 * requests at once, and each may be slow.
 */
export const turnMs = 2

/** Fast requests run between two checks of the clock. A check costs a tenth of a request. */
export const requestsPerLook = 8

/** Replies that the socket has not taken. Above this, the connection stops reading. */
export const outputBytesMax = 2 * MiB

/** The first replies to a received batch are written at this size, so that the client can start on them. */
export const batchBytesFirst = 16 * KiB

/** A batch of replies is written at this size: more would fall out of the cache before it is sent. */
export const batchBytesMax = 256 * KiB

/** Size of the receive buffer of a busy connection. Larger ones gained nothing. */
export const receiveBytes = 64 * KiB

/** Size of an output buffer. */
export const outputBytes = 64 * KiB

/**
 * Data up to this size is copied behind its header, so that a batch is one buffer. Larger data is sent
 * without a copy.
 */
export const copyBytesMax = 32 * KiB

/** A payload with at least this much still to come is received into its own memory. */
export const receiveIntoPlaceBytes = 16 * KiB

/**
 * After a payload of which this much was received into its own memory, the next payload is expected to be
 * alike. For less, receiving it in two pieces costs more than moving it.
 */
export const bulkBytesMin = 64 * KiB

/** Bytes received first in that case: payload bytes beyond these need not be moved. */
export const bulkHeadBytes = 4 * KiB
