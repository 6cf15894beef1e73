/**
 * What Linux is told of memory (madvise(2)), through the optional package koffi: that it may be taken back,
 * and that it should come in small pages. Nothing is loaded before first use.
 */
import { createRequire } from 'node:module'

type Koffi = typeof import('koffi')

/** Numbers from the kernel's mman-common.h, the same on every processor that Node runs on. */
const MADV_DONTNEED = 4
const MADV_NOHUGEPAGE = 15

/**
 * Advice goes to ranges that begin and end at a multiple of this: the largest page that a kernel has (on
 * arm64).
 */
export const adviceBytes = 64 * 1024

export interface MemoryAdvice {
  /** Where the bytes lie. */
  address(bytes: Uint8Array): number
  /**
   * Makes the bytes zero by giving their memory back. False when that cannot be done (memory that is locked,
   * a range that is not of whole {@link adviceBytes}): then nothing has changed.
   */
  giveBack(bytes: Uint8Array): boolean
  /** Keeps the system from bringing in 2 MiB where one byte is touched, as some do. */
  smallPages(bytes: Uint8Array): void
}

let loaded: { readonly advice: MemoryAdvice | undefined } | undefined

/** Undefined where it cannot be had. */
export function memoryAdvice(): MemoryAdvice | undefined {
  loaded ??= { advice: loadMemoryAdvice() }
  return loaded.advice
}

/** For {@link memoryAdvice}, and for tests that take something away. */
export function loadMemoryAdvice(
  platform: string = process.platform,
  load: () => Koffi = () => createRequire(import.meta.url)('koffi'),
): MemoryAdvice | undefined {
  // Elsewhere MADV_DONTNEED does not promise zeroes.
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
      // A kernel without huge pages refuses, and has nothing to be told.
      smallPages: (bytes) => void advise(bytes, MADV_NOHUGEPAGE),
    }
  } catch {
    return undefined
  }
}
