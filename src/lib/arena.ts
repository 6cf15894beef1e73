import { adviceBytes, type MemoryAdvice } from './give-back.js'

/**
 * Segments are cut from slabs, since V8 counts all of an ArrayBuffer, touched or not, and collects garbage
 * (0.6 ms and more) for each 64 MiB of them: with a buffer for each segment, 4 KiB here and there cost 60 us
 * each, so 12. Where address space is limited, the slab that cannot be had any more leaves room for V8, which
 * dies without.
 */
const slabBytes = 256 * 1024 * 1024
/**
 * Where only the garbage collector gives memory back, it does by the slab. Not by less than 32 MiB: glibc
 * would reuse smaller buffers, and clear all of them first: 12 MiB written here and there, again and again,
 * took 850.
 */
const slabBytesUnadvised = 64 * 1024 * 1024

export interface ArenaOptions {
  /** Of each segment that is taken. */
  readonly segmentBytes: number
  /** Of the disk: a small one reserves little. */
  readonly diskBytes: number
  readonly slabBytes?: number | undefined
  readonly advice: () => MemoryAdvice | undefined
  /** Makes memory that is zero and that takes up nothing until it is touched, or throws a RangeError. */
  readonly allocate: (length: number) => ArrayBuffer
}

const nothing = new Uint8Array(0)

/**
 * Hands out segments of zeroes. None is handed out twice: what was lent of one may still be on its way to a
 * client when it is dropped. A slab is freed when the last segment of it is collected.
 */
export class Arena {
  readonly #options: ArenaOptions
  #rest = nothing

  constructor(options: ArenaOptions) {
    this.#options = options
  }

  /** Throws a RangeError when there is no more memory. */
  take(): Uint8Array {
    const { segmentBytes } = this.#options
    const free = this.#rest.length > 0 ? this.#rest : this.#slab()
    // A rest of no bytes would still hold its slab.
    this.#rest = free.length > segmentBytes ? free.subarray(segmentBytes) : nothing
    return free.subarray(0, segmentBytes)
  }

  #slab(): Uint8Array<ArrayBuffer> {
    const { segmentBytes, diskBytes, allocate } = this.#options
    const advice = this.#options.advice()
    const most = this.#options.slabBytes ?? (advice ? slabBytes : slabBytesUnadvised)
    const length = Math.ceil(Math.min(most, diskBytes) / segmentBytes) * segmentBytes
    if (!advice) return new Uint8Array(allocate(length))
    const buffer = allocate(length + adviceBytes)
    const misfit = advice.address(new Uint8Array(buffer)) % adviceBytes
    const slab = new Uint8Array(buffer, misfit && adviceBytes - misfit, length)
    // With huge pages, 4 KiB here and there would take 2 MiB each. To ask for them where data is dense was
    // tried: first writes were six times as fast where such pages lay ready, and took three times as long on
    // a fresh virtual machine.
    advice.smallPages(slab)
    return slab
  }
}
