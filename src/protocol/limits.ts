/** Every limit on what a peer may make us hold, with its unit and its reason. */
import assert from 'node:assert/strict'

const KiB = 1024
const MiB = 1024 * KiB

/** The spec's own limit on a string: export names, queries, messages. */
export const stringBytesMax = 4096

/** Option data that is held and parsed: several names of full length and a good many queries. */
export const optionBytesMax = 64 * KiB

/**
 * Option data up to here is read and thrown away with NBD_REP_ERR_TOO_BIG; more is no mistake but an attack.
 */
export const optionDrainBytesMax = 32 * MiB

/**
 * Options in one handshake. A client that lists and asks for every export of a large server needs hundreds.
 */
export const optionsMax = 4096

/** Queries in one option: no server has as many contexts. */
export const queriesMax = 128

/** Exports in one list, so that a reply has an end. nbdkit has the same. */
export const exportsMax = 10_000

/**
 * Replies of one list are sent in pieces of so much, each when the client has taken enough of those before.
 */
export const listPieceBytes = 16 * KiB

/**
 * What lists that clients have not taken yet may hold, for all clients together: ten of the largest usual
 * ones.
 */
export const listsBytesMax = 32 * MiB

/** Replies of a handshake that its client has not taken. Beyond, the next option waits. */
export const untakenBytesMax = 64 * KiB

/**
 * The same for all clients together. Beyond, no option is looked at before its client has taken all replies.
 */
export const untakenTotalBytesMax = 16 * MiB

/** What a client may send ahead of the option in hand. */
export const aheadBytesMax = 4 * KiB

/** Data of one READ or WRITE, as in nbdkit and qemu. The spec asks for 32 MiB at least. */
export const payloadBytesMax = 64 * MiB

/**
 * Payload of a request that is refused: read and thrown away, so that the stream stays in step, as far as 32
 * bits can say. An extended header that says more is no mistake but an attack.
 */
export const payloadDrainBytesMax = 0xffffffff

/** Payload of BLOCK_STATUS: an effect length and up to `queriesMax` context ids. */
export const statusPayloadBytesMax = 8 + 4 * queriesMax

/**
 * Descriptors in one block status chunk: the spec says no more than 2^20; a client comes back for the rest.
 */
export const descriptorsMax = 16 * KiB

/** Requests of one connection that may wait for their device at once, unless the server is told otherwise. */
export const inFlightMax = 16

/**
 * Bytes of those requests' data, so that 16 of the largest do not add up. One of the largest is always let
 * in.
 */
export const inFlightBytesMax = 64 * MiB

/**
 * A READ or WRITE of so much counts against the memory budget: what is shorter is bounded by what one
 * connection may have in flight and unsent.
 */
export const largeBytesMin = 128 * KiB

/** Memory common to the large requests of all clients: two of the largest. */
export const budgetBytes = 2 * payloadBytesMax

/**
 * Memory that is divided among the connections: a request that fits into the share of its connection never
 * waits for another client. Many connections get small shares, few get large ones.
 */
export const sharesBytes = 32 * MiB
export const shareBytesMin = 256 * KiB
export const shareBytesMax = 4 * MiB

/** A large payload takes memory in steps of so much, as its bytes arrive. */
export const payloadStepBytes = MiB

/**
 * A client that holds common memory while others wait is dropped when it sends and takes less than
 * `paceBytesMin` in `stallMs`: 64 KiB a second, less than any link on which a disk can be used.
 */
export const stallMs = 10_000
export const paceBytesMin = 640 * KiB

/**
 * Requests of one client are run for so long, in ms, before other clients get a turn: a client sends
 * thousands of requests at once, and each may be slow.
 */
export const turnMs = 2

/** Fast requests run between two looks at the clock. A look costs a tenth of a request. */
export const requestsPerLook = 8

/** Replies that the socket has not taken yet. Beyond it the connection stops reading. */
export const outputBytesMax = 2 * MiB

/** The first replies to what was received at once are written when they are so many: the client begins. */
export const batchBytesFirst = 16 * KiB

/** A batch of replies is written when it has grown so large: more would fall out of the cache on its way. */
export const batchBytesMax = 256 * KiB

/** Room of the receive buffer of a busy connection: larger ones gained nothing. */
export const receiveBytes = 64 * KiB

/** Room of an output buffer. */
export const outputBytes = 64 * KiB

/** Data up to here is copied behind its header, so that a batch is one buffer; more is sent as it is. */
export const copyBytesMax = 32 * KiB

/** A payload with this much still to come is received into its own memory. */
export const receiveIntoPlaceBytes = 16 * KiB

/** How long an event loop may stay awake for the next request, in microseconds: beyond, it is mere heat. */
export const busyPollUsMax = 1000

/**
 * Behind a payload of which so much was received into its own memory, the next one is expected to be alike.
 * With less, to receive it in two pieces costs more than to move it.
 */
export const bulkBytesMin = 64 * KiB

/** So much is received at first there: what is not in the head of a payload needs not be moved. */
export const bulkHeadBytes = 4 * KiB

/** Zeroes in a reply become a hole from here on: the spec asks for multiples of 512 where possible. */
export const holeBytesMin = 512

assert.ok(optionBytesMax >= 4 * stringBytesMax && optionBytesMax <= optionDrainBytesMax)
assert.ok(statusPayloadBytesMax <= payloadBytesMax && payloadBytesMax <= payloadDrainBytesMax)
assert.ok(inFlightBytesMax >= payloadBytesMax)
assert.ok(largeBytesMin > receiveBytes && budgetBytes >= payloadBytesMax)
assert.ok(shareBytesMin >= largeBytesMin && shareBytesMin <= shareBytesMax && shareBytesMax <= sharesBytes)
assert.ok(payloadStepBytes >= receiveBytes && payloadStepBytes <= shareBytesMax)
assert.ok(copyBytesMax + 64 <= outputBytes && outputBytes <= batchBytesMax && batchBytesMax <= outputBytesMax)
assert.ok(batchBytesFirst <= batchBytesMax)
assert.ok(bulkHeadBytes < receiveIntoPlaceBytes && receiveIntoPlaceBytes <= bulkBytesMin)
assert.ok(4 + 8 * descriptorsMax <= payloadBytesMax)
