/**
 * Memory shared by several threads of this process, through the optional package koffi. A SharedArrayBuffer
 * would also work, but copying 4 KiB to or from it takes twice as long.
 */
import { constants } from 'node:buffer'
import { ConfigError, messageOf } from '../api/errors.js'
import { type Koffi, loadKoffi } from './koffi.js'

/** Constants of the kernel's mman-common.h and mman.h, the same on every processor that Node runs on. */
const PROT_READ_WRITE = 3
const MAP_PRIVATE_ANONYMOUS = 0x22
const MAP_NORESERVE = 0x4000
const MAP_FAILED = 2n ** 64n - 1n

/** A reference to the memory that can be sent to another thread. The memory is never freed. */
export interface SharedMemory {
  readonly address: bigint
  /** In bytes. */
  readonly length: number
}

/**
 * Reserves zeroed memory, which is taken only when touched.
 *
 * @throws ConfigError without koffi, or where so much memory is not available.
 */
export function reserveShared(length: number): SharedMemory {
  if (length > constants.MAX_LENGTH)
    throw new ConfigError(
      `several threads can share ${constants.MAX_LENGTH} bytes at most in this Node, not ${length}`,
    )
  const mmap = load()
    .load(null)
    .func('void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)')
  const flags = MAP_PRIVATE_ANONYMOUS | MAP_NORESERVE
  const address: bigint | null = mmap(null, Math.max(1, length), PROT_READ_WRITE, flags, -1, 0)
  if (address === null || BigInt.asUintN(64, address) === MAP_FAILED)
    throw new ConfigError(`the system has no ${length} bytes of memory to share between threads`)
  return { address, length }
}

/** Maps the memory into this thread. */
export function openShared({ address, length }: SharedMemory): ArrayBuffer {
  return length === 0 ? new ArrayBuffer(0) : load().view(address, length)
}

function load(): Koffi {
  try {
    return loadKoffi()
  } catch (error) {
    throw new ConfigError(
      `threads share memory through the package koffi: "npm install koffi" (${messageOf(error)})`,
      { cause: error },
    )
  }
}
