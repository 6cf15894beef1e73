/**
 * Advice to Linux about memory (madvise(2)), through the optional package koffi: to take memory back, and to
 * use small pages. Nothing is loaded before first use.
 */
import { type Koffi, loadKoffi } from './koffi.js'

/** Constants of the kernel's mman-common.h, the same on every processor that Node runs on. */
const MADV_DONTNEED = 4
const MADV_NOHUGEPAGE = 15

/** Advised ranges begin and end at a multiple of this: the largest page size of any kernel (on arm64). */
export const adviceBytes = 64 * 1024

export interface MemoryAdvice {
  /** The address of the bytes. */
  address(bytes: Uint8Array): number
  /**
   * Zeroes the bytes by giving their memory back. Returns false, and changes nothing, where that is
   * impossible: for locked memory, or a range that is not made of whole {@link adviceBytes}.
   */
  giveBack(bytes: Uint8Array): boolean
  /** Stops the system from allocating 2 MiB where one byte is touched, as some systems do. */
  smallPages(bytes: Uint8Array): void
}

let loaded: { readonly advice: MemoryAdvice | undefined } | undefined

/** Undefined where the advice is not available. */
export function memoryAdvice(): MemoryAdvice | undefined {
  loaded ??= { advice: loadMemoryAdvice() }
  return loaded.advice
}

/** For {@link memoryAdvice}, and for tests that simulate missing parts. */
export function loadMemoryAdvice(
  platform: string = process.platform,
  load: () => Koffi = loadKoffi,
): MemoryAdvice | undefined {
  // On other systems MADV_DONTNEED does not promise zeroes.
  if (platform !== 'linux') return undefined
  try {
    const koffi = load()
    const madvise = koffi.load(null).func('int madvise(void *address, size_t length, int advice)')
    const address = (bytes: Uint8Array) => Number(koffi.address(bytes))
    const advise = (bytes: Uint8Array, advice: number): boolean => {
      const start = address(bytes)
      if (start % adviceBytes !== 0 || bytes.length % adviceBytes !== 0) return false
      return madvise(start, bytes.length, advice) === 0
    }
    return {
      address,
      giveBack: (bytes) => advise(bytes, MADV_DONTNEED),
      // A kernel without huge pages refuses, and needs no advice.
      smallPages: (bytes) => void advise(bytes, MADV_NOHUGEPAGE),
    }
  } catch {
    return undefined
  }
}
