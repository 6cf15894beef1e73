/** Limits on what a peer may send and is sent, each with its unit and its reason. */

const KiB = 1024
const MiB = 1024 * KiB

/** The spec's limit on a string, in bytes: export names, queries, messages. */
export const stringBytesMax = 4096

/** Option data that is held and parsed: enough for several names of full length and many queries. */
export const optionBytesMax = 64 * KiB

/**
 * Option data up to this size is discarded and answered with NBD_REP_ERR_TOO_BIG. More is not a mistake but
 * an attack.
 */
export const optionDrainBytesMax = 32 * MiB

/**
 * Options in one handshake. A client that lists and queries every export of a large server needs hundreds.
 */
export const optionsMax = 4096

/** Queries in one option: more than the contexts of any server. */
export const queriesMax = 128

/** Exports in one list, so that a reply has an end. Same as nbdkit. */
export const exportsMax = 10_000

/** Data of one READ or WRITE, as in nbdkit and qemu. The spec asks for at least 32 MiB. */
export const payloadBytesMax = 64 * MiB

/**
 * Payload of a refused request. It is discarded, so that the stream stays in step, up to what 32 bits can
 * state. An extended header that states more is not a mistake but an attack.
 */
export const payloadDrainBytesMax = 0xffffffff

/** Payload of BLOCK_STATUS: an effect length and up to `queriesMax` context ids. */
export const statusPayloadBytesMax = 8 + 4 * queriesMax

/**
 * Descriptors in one block status chunk. The spec allows up to 2^20, and a client asks again for the rest.
 */
export const descriptorsMax = 16 * KiB

/**
 * Zeroes of at least this length become a hole in a reply. The spec asks for multiples of 512 where possible.
 */
export const holeBytesMin = 512
