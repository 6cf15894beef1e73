import type { MaybePromise } from './maybe.js'

/** One view of bytes, or several in order. Borrowed: see {@link Device}. */
export type Data = Uint8Array | readonly Uint8Array[]

/**
 * Allocates memory that the caller of `read` owns, of exactly `length` bytes. The memory is zeroed. With
 * `uninitialized`, it may hold bytes of another client. That is faster, but only correct for a device that
 * fills every byte before it returns the memory, and throws where it cannot.
 */
export type Alloc = (length: number, content?: 'uninitialized') => Uint8Array

/** Bits of an extent's `type` (NBD spec, "`base:allocation` metadata context"). `0` is data. */
export const HOLE = 1
export const ZERO = 2

/** A run of bytes of one type. Runs follow each other from the requested offset, so they carry no offset. */
export interface Extent {
  /** In bytes, above zero. */
  readonly length: number
  /**
   * `0` for data, otherwise {@link HOLE} and {@link ZERO} as bits. For another context, 32 bits that it
   * defines.
   */
  readonly type: number
}

/**
 * Returns the runs of a range in one metadata context: `base:allocation`, or one of the device's `contexts`.
 * The result may end early or go past the end of the range, but has at least one run.
 */
export type Extents = (offset: number, length: number, context: string) => MaybePromise<Iterable<Extent>>

export interface WriteFlags {
  /** Force unit access: durable before the reply. */
  readonly fua: boolean
}

export interface ZeroFlags extends WriteFlags {
  /** The device may punch a hole (the client did not set `NBD_CMD_FLAG_NO_HOLE`). */
  readonly mayTrim: boolean
  /** Fail with ENOTSUP at once unless zeroing is faster than a write (`NBD_CMD_FLAG_FAST_ZERO`). */
  readonly fast: boolean
}

/** `emulate`: the device itself cannot, but an equivalent is done instead (nbdkit-plugin(3), `.can_fua`). */
export type Support = 'none' | 'emulate' | 'native'

/** The requests offered to a client. A plugin's capabilities are inferred from its methods. */
export interface Capabilities {
  /** False: the export is read-only. */
  readonly write: boolean
  readonly flush: boolean
  readonly trim: boolean
  /** False: `base:allocation` reports everything as data. */
  readonly extents: boolean
  /** `zero` fails with ENOTSUP at once when `fast` is requested and zeroing is not fast. */
  readonly fastZero: boolean
  /** A flush on one connection covers the writes on all others. */
  readonly multiConn: boolean
  readonly zero: Support
  readonly fua: Support
  readonly cache: Support
}

/** In bytes. `minimum` and `preferred` are powers of two; a request is a multiple of `minimum`. */
export interface BlockSize {
  /** 1 to 65,536. */
  readonly minimum: number
  /** 512 to 33,554,432, and not below `minimum`. */
  readonly preferred: number
  /** The longest request with data: a multiple of `minimum`, or 0xffffffff where the device has no limit. */
  readonly maximum: number
  /**
   * True: clients are told the sizes, and requests that do not keep to them reach the device all the same.
   * Otherwise the server refuses such requests.
   */
  readonly advisory?: boolean
}

/**
 * The block size of a device that names none (nbdkit-plugin(3), `.block_size`). Another object with the same
 * numbers counts as named.
 */
export const unknownBlockSize: BlockSize = Object.freeze({ minimum: 1, preferred: 4096, maximum: 0xffffffff })

/**
 * An opened export with all its operations, as `next` returns it to a filter.
 *
 * Offsets and lengths are bytes, within `size`; a length is never zero. A thrown {@link NbdError}, or Node
 * error with a `code`, fails only that request. Any other exception counts as EIO.
 *
 * **Borrowed bytes.** Bytes returned from `read` or passed to `write` may be used until the reply is sent or
 * the promise settles. To keep them longer, copy them.
 */
export interface Device {
  readonly size: number
  /** A description for people (`NBD_INFO_DESCRIPTION`); empty when there is none. */
  readonly description: string
  /** Seeks cost time: a spinning disk. */
  readonly rotational: boolean
  readonly blockSize: BlockSize
  readonly can: Capabilities
  /**
   * Returns views of `length` bytes in all: the device's own memory, memory from `alloc(length)` that the
   * device has filled, or `zeroes(n)` for ranges known to be zero, which are sent as holes.
   */
  read(offset: number, length: number, alloc: Alloc): MaybePromise<Data>
  write(offset: number, data: Uint8Array, flags: WriteFlags): MaybePromise<void>
  /**
   * Lends memory for a future write: a view of exactly `length` bytes. The data is received into that view,
   * and then `write` is called with the view itself. The device may keep the view as part of the disk, so
   * that nothing is copied. The memory lies beside the disk: until that `write`, no read, write, trim or zero
   * is affected by the lent window. The write may never come. Others may write, trim and zero the range
   * meanwhile, and their changes hold until that `write`, which is an ordinary write. Return undefined to
   * have the data received elsewhere.
   */
  window(offset: number, length: number): Uint8Array | undefined
  /**
   * Ends the use of a window. Called once for each window that was lent, and before `close`: after its
   * `write` has settled, or instead of it where the client died or the write was refused. Written data stays.
   * Ignore a view that this device did not lend.
   */
  release(window: Uint8Array): void
  /** Makes all writes that were answered before durable. */
  flush(): MaybePromise<void>
  /** A hint that the content is no longer needed. */
  trim(offset: number, length: number, flags: WriteFlags): MaybePromise<void>
  zero(offset: number, length: number, flags: ZeroFlags): MaybePromise<void>
  /** For `base:allocation`, unless another context is named. See {@link Extents}. */
  extents(offset: number, length: number, context?: string): MaybePromise<Iterable<Extent>>
  /** A hint that the range will soon be read. */
  cache(offset: number, length: number): MaybePromise<void>
  /**
   * Names of the metadata contexts that `extents` supports besides `base:allocation`, such as `x-mine:dirty`.
   */
  readonly contexts: readonly string[]
  /** Called once, after the last callback of the connection has settled. */
  close(): MaybePromise<void>
}

/** The part that an author returns: `size`, `read`, and anything else that the device supports. */
export type DeviceInit = Pick<Device, 'size' | 'read'> &
  Partial<Omit<Device, 'size' | 'read' | 'can' | 'blockSize' | 'extents'>> & {
    extents?: Extents
    can?: Partial<Capabilities>
    blockSize?: Partial<BlockSize>
  }

/** The total number of bytes. */
export function dataLength(data: Data): number {
  if (data instanceof Uint8Array) return data.length
  let length = 0
  for (const part of data) length += part.length
  return length
}
