import type { MaybePromise } from './maybe.js'

/** One view of bytes, or several in order. Borrowed: see {@link Device}. */
export type Data = Uint8Array | readonly Uint8Array[]

/**
 * Gives memory that the caller of `read` owns, of exactly `length` bytes. The memory is zero. With
 * `uninitialized` it may hold bytes of another client: that is faster, and right only for a device that fills
 * every byte before it returns the memory, and throws where it cannot.
 */
export type Alloc = (length: number, content?: 'uninitialized') => Uint8Array

/** Bits of an extent's `type` (NBD spec, "`base:allocation` metadata context"). `0` is data. */
export const HOLE = 1
export const ZERO = 2

/** A run of bytes of one type. Runs follow each other from the offset asked for, so they carry no offset. */
export interface Extent {
  /** In bytes, above zero. */
  readonly length: number
  /**
   * `0` for data, else {@link HOLE} and {@link ZERO} as bits; for another context, 32 bits that it defines.
   */
  readonly type: number
}

/**
 * Answers which runs lie in a range, in one metadata context: `base:allocation`, or one of the device's
 * `contexts`. It may stop early or go past the end of the range, but gives one run at least.
 */
export type Extents = (offset: number, length: number, context: string) => MaybePromise<Iterable<Extent>>

export interface WriteFlags {
  /** Force unit access: durable before the reply. */
  readonly fua: boolean
}

export interface ZeroFlags extends WriteFlags {
  /** It may punch a hole (the client did not set `NBD_CMD_FLAG_NO_HOLE`). */
  readonly mayTrim: boolean
  /** Fail with ENOTSUP at once unless it is faster than a write (`NBD_CMD_FLAG_FAST_ZERO`). */
  readonly fast: boolean
}

/** `emulate`: the device cannot, but something equal is done in its place (nbdkit-plugin(3), `.can_fua`). */
export type Support = 'none' | 'emulate' | 'native'

/** What a client is told it may ask for. A plugin's are inferred from the methods that it has. */
export interface Capabilities {
  /** False: the export is read-only. */
  readonly write: boolean
  readonly flush: boolean
  readonly trim: boolean
  /** False: `base:allocation` reports everything as data. */
  readonly extents: boolean
  /** `zero` answers ENOTSUP at once when `fast` is asked and it is not. */
  readonly fastZero: boolean
  /** A flush on one connection covers what was written on any other. */
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
  /**
   * The longest request with data: a multiple of `minimum`, or 0xffffffff for no limit of the device's own.
   */
  readonly maximum: number
}

/**
 * Of a device that names none (nbdkit-plugin(3), `.block_size`). Another object with the same numbers is a
 * block size that was named.
 */
export const unknownBlockSize: BlockSize = Object.freeze({ minimum: 1, preferred: 4096, maximum: 0xffffffff })

/**
 * An opened export: the operations, complete. It is what `next` gives to a filter.
 *
 * Offsets and lengths are bytes, within `size`; a length is never zero. A throw of {@link NbdError}, or of a
 * Node error with a `code`, fails that request alone; any other throw is EIO.
 *
 * **Borrowed bytes.** What `read` returns and `write` receives may be used until the reply is sent or the
 * promise settles. To keep it, copy it.
 */
export interface Device {
  readonly size: number
  /** For a person to read (`NBD_INFO_DESCRIPTION`), empty when there is none. */
  readonly description: string
  /** Seeks cost time: a spinning disk. */
  readonly rotational: boolean
  readonly blockSize: BlockSize
  readonly can: Capabilities
  /**
   * Returns views of `length` bytes in all: the device's own memory, what it filled of `alloc(length)`, or
   * `zeroes(n)` for what is known to be zero, which goes out as a hole.
   */
  read(offset: number, length: number, alloc: Alloc): MaybePromise<Data>
  write(offset: number, data: Uint8Array, flags: WriteFlags): MaybePromise<void>
  /**
   * Lends memory for a write that is to come: a view of exactly `length` bytes. They are received into that
   * view, and then `write` is called with the view itself, which the device may keep as a part of the disk,
   * so that nothing needs to be copied. The memory lies beside the disk: until that `write`, no read, write,
   * trim or zero notices that a window is lent. The write may never come. Others may write, trim and zero the
   * range meanwhile, and what they did stands until that `write`, which is one like any other. Undefined: the
   * bytes are received elsewhere.
   */
  window(offset: number, length: number): Uint8Array | undefined
  /**
   * A window is used no more. Called once for each that was lent, and before `close`: when its `write` has
   * settled, or in its place where the client died or the write was refused. What was written stays. A view
   * that this device did not lend is none of its business.
   */
  release(window: Uint8Array): void
  /** Makes durable every write that was answered before. */
  flush(): MaybePromise<void>
  /** A hint that the content is no longer needed. */
  trim(offset: number, length: number, flags: WriteFlags): MaybePromise<void>
  zero(offset: number, length: number, flags: ZeroFlags): MaybePromise<void>
  /** Of `base:allocation`, unless another context is named. See {@link Extents}. */
  extents(offset: number, length: number, context?: string): MaybePromise<Iterable<Extent>>
  /** A hint that the range will soon be read. */
  cache(offset: number, length: number): MaybePromise<void>
  /** Names of the metadata contexts that `extents` knows beside `base:allocation`, such as `x-mine:dirty`. */
  readonly contexts: readonly string[]
  /** Called once, after the last callback of the connection has settled. */
  close(): MaybePromise<void>
}

/** What an author returns: `size`, `read`, and whatever else the device can do. */
export type DeviceInit = Pick<Device, 'size' | 'read'> &
  Partial<Omit<Device, 'size' | 'read' | 'can' | 'blockSize' | 'extents'>> & {
    extents?: Extents
    can?: Partial<Capabilities>
    blockSize?: Partial<BlockSize>
  }

/** Bytes in all. */
export function dataLength(data: Data): number {
  if (data instanceof Uint8Array) return data.length
  let length = 0
  for (const part of data) length += part.length
  return length
}
