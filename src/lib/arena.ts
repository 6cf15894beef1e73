import { adviceBytes, type MemoryAdvice } from '../os/madvise.js'

/**
 * Segments are cut from slabs. V8 counts every byte of an ArrayBuffer, touched or not, and collects garbage
 * (0.6 ms and more) for each 64 MiB of them. Scattered 4 KiB writes cost 60 us each with a buffer for each
 * segment, and 12 us with slabs. Where address space is limited, the slab that can no longer be allocated
 * leaves room for V8, which would die without it.
 */
const slabBytes = 256 * 1024 * 1024
/**
 * Slab size where only the garbage collector frees memory: it frees whole slabs. At least 32 MiB, because
 * glibc would reuse smaller buffers and clear all of them first: 12 MiB of scattered writes, repeated, then
 * took 850 MiB.
 */
const slabBytesUnadvised = 64 * 1024 * 1024

export interface ArenaOptions {
  /** The size of each segment. */
  readonly segmentBytes: number
  /** The size of the disk. A small disk reserves little. */
  readonly diskBytes: number
  readonly slabBytes?: number | undefined
  readonly advice: () => MemoryAdvice | undefined
  /** Allocates zeroed memory that takes up nothing until touched, or throws a RangeError. */
  readonly allocate: (length: number) => ArrayBuffer
}

const nothing = new Uint8Array(0)

/**
 * Hands out zeroed segments. None is handed out twice, because lent memory of a dropped segment may still be
 * on its way to a client. A slab is freed when its last segment is garbage collected.
 */
export class Arena {
  readonly #options: ArenaOptions
  #rest = nothing

  constructor(options: ArenaOptions) {
    this.#options = options
  }

  /** @throws RangeError when there is no more memory. */
  take(): Uint8Array {
    const { segmentBytes } = this.#options
    const free = this.#rest.length > 0 ? this.#rest : this.#slab()
    // An empty rest would still keep its slab alive.
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
    // With huge pages, scattered 4 KiB writes would take 2 MiB each. Asking for huge pages where data is
    // dense was tried: first writes were six times as fast where such pages were ready, and took three times
    // as long on a fresh virtual machine.
    advice.smallPages(slab)
    return slab
  }
}
