/**
 * C library calls that Node lacks, through the optional package koffi. Nothing is loaded before first use.
 * Calls that may block run on koffi's threads and return a Promise. The rest return at once.
 */
import { closeSync } from 'node:fs'
import { getSystemErrorMap } from 'node:util'
import { messageOf } from '../api/errors.js'
import { type Koffi, loadKoffi } from './koffi.js'

/**
 * A function of the library, called on this thread or, by `async`, on a thread of koffi. All return an
 * integer.
 */
interface Native<A extends readonly unknown[]> {
  (...args: A): number
  async(...args: [...A, (error: unknown, result: number) => void]): void
  readonly info: { readonly name: string }
}

/** Modes of {@link Libc.fallocate}, which can be combined. */
export const FALLOC_FL_KEEP_SIZE = 1
export const FALLOC_FL_PUNCH_HOLE = 2
export const FALLOC_FL_ZERO_RANGE = 16
/** Advice for {@link Libc.fadvise}. */
export const POSIX_FADV_RANDOM = 1
export const POSIX_FADV_SEQUENTIAL = 2
export const POSIX_FADV_WILLNEED = 3
export const POSIX_FADV_DONTNEED = 4

export interface Credentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/** Each function throws, or rejects with, an Error whose `code` is the errno name (`ENOSPC`), as in Node. */
export interface Libc {
  /**
   * Fills `target` from a file as far as the page cache has the data, without waiting for a disk. Returns the
   * number of bytes read: 0 at the end of the file, -1 where the read would have to wait. Throws EOPNOTSUPP
   * where the file system cannot promise not to wait.
   */
  preadNoWait(fd: number, target: Uint8Array, offset: number): number
  /** The start of the next data at or after `offset`; undefined where there is none. */
  seekData(fd: number, offset: number): number | undefined
  /**
   * The start of the next hole at or after `offset`. The end of the file counts as a hole; undefined beyond
   * it.
   */
  seekHole(fd: number, offset: number): number | undefined
  /** The same on another thread, for metadata on a slow disk or across a network. */
  readonly inThread: {
    seekData(fd: number, offset: number): Promise<number | undefined>
    seekHole(fd: number, offset: number): Promise<number | undefined>
  }
  /** The size in bytes of a block device, which `stat` does not report. */
  seekEnd(fd: number): Promise<number>
  fallocate(fd: number, mode: number, offset: number, length: number): Promise<void>
  /** A `length` of 0 means up to the end of the file. */
  fadvise(fd: number, offset: number, length: number, advice: number): Promise<void>
  /** Tells a block device that a range is no longer needed. */
  discard(fd: number, offset: number, length: number): Promise<void>
  /** Whether a block device is a spinning disk. */
  isRotational(fd: number): Promise<boolean>
  /** A new socket that sends datagrams to the Unix socket at a path. */
  datagramsTo(path: string): number
  /** Sends as many bytes as the socket takes at once. Returns their number; undefined for none. */
  sendNoWait(fd: number, bytes: Uint8Array): number | undefined
  /**
   * Sets how many bytes a socket takes before its reader has taken any. The system doubles and limits the
   * value.
   */
  setSendBuffer(fd: number, bytes: number): void
  /** The ends of a new pipe. Programs started later do not inherit them unless they are passed on. */
  pipe(): readonly [read: number, write: number]
  /** A new descriptor of the same open file or socket, which is closed separately. */
  duplicate(fd: number): number
  /** True where the other end of a socket is closed in both directions or was reset. */
  hasHungUp(fd: number): boolean
  /** The peer of a Unix socket; undefined for any other descriptor. */
  peerCredentials(fd: number): Credentials | undefined
}

let loaded: { readonly libc: Libc } | { readonly why: string } | undefined

/** The C library; undefined where it is not available. {@link whyNoLibc} then says why. */
export function libc(): Libc | undefined {
  loaded ??= loadLibc()
  return 'libc' in loaded ? loaded.libc : undefined
}

/** What is missing and what to do, as a sentence without a full stop; undefined when nothing is missing. */
export function whyNoLibc(): string | undefined {
  loaded ??= loadLibc()
  return 'why' in loaded ? loaded.why : undefined
}

/**
 * Processors whose flags, ioctls and socket options have the numbers used here, with musl's names for them.
 */
const processors: Readonly<Record<string, string>> = {
  x64: 'x86_64',
  arm64: 'aarch64',
  riscv64: 'riscv64',
  loong64: 'loongarch64',
}

/** For {@link libc}, and for tests that simulate missing parts. */
export function loadLibc(
  load: () => Koffi = loadKoffi,
  platform: string = process.platform,
  arch: string = process.arch,
): { readonly libc: Libc } | { readonly why: string } {
  const processor = processors[arch]
  if (platform !== 'linux' || processor === undefined)
    return {
      why:
        `the C library is used on Linux alone, on ${Object.keys(processors).join(', ')}: ` +
        `this is ${platform} on ${arch}`,
    }
  let koffi: Koffi
  try {
    koffi = load()
  } catch (error) {
    const [reason] = messageOf(error).split('\n', 1)
    return {
      why:
        'the C library is reached through the package koffi: ' +
        `install it with "npm install koffi" (${reason})`,
    }
  }
  const names = ['libc.so.6', `libc.musl-${processor}.so.1`, 'libc.so']
  const problems: string[] = []
  for (const name of names) {
    try {
      return { libc: bind(koffi, koffi.load(name)) }
    } catch (error) {
      problems.push(messageOf(error))
    }
  }
  return { why: `no C library was found: ${problems.join('; ')}` }
}

const RWF_NOWAIT = 8
const SEEK_END = 2
const SEEK_DATA = 3
const SEEK_HOLE = 4
const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_PEERCRED = 17
const POLLERR = 8
const POLLHUP = 16
const AF_UNIX = 1
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const F_DUPFD_CLOEXEC = 1030
const O_CLOEXEC = 0o2000000
const BLKDISCARD = 0x1277
const BLKROTATIONAL = 0x127e
/**
 * koffi refuses a call when 256 are in progress. It has one thread for each core, so this limit is enough.
 */
const inFlightMax = 64

function bind(koffi: Koffi, library: import('koffi').LibraryHandle): Libc {
  const { EAGAIN, EINTR, ENXIO } = koffi.os.errno
  const declare = <A extends readonly unknown[]>(signature: string): Native<A> => library.func(signature)
  const lseek = declare<[fd: number, offset: number, whence: number]>(
    'int64_t lseek(int fd, int64_t offset, int whence)',
  )
  const fallocate = declare<[fd: number, mode: number, offset: number, length: number]>(
    'int fallocate(int fd, int mode, int64_t offset, int64_t length)',
  )
  const fadvise = declare<[fd: number, offset: number, length: number, advice: number]>(
    'int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)',
  )
  // ioctl is variadic in C, as is fcntl. These processors pass an integer or a pointer the same way.
  const ioctl = declare<[fd: number, request: number, argument: ArrayBufferView]>(
    'int ioctl(int fd, unsigned long request, void *argument)',
  )
  const fcntl = declare<[fd: number, command: number, argument: number]>(
    'int fcntl(int fd, int command, int argument)',
  )
  const pipe2 = declare<[ends: Int32Array, flags: number]>('int pipe2(void *ends, int flags)')
  const getsockopt = declare<
    [fd: number, level: number, name: number, value: Uint32Array, length: Uint32Array]
  >('int getsockopt(int fd, int level, int name, void *value, void *length)')
  const setsockopt = declare<[fd: number, level: number, name: number, value: Int32Array, length: number]>(
    'int setsockopt(int fd, int level, int name, void *value, uint32_t length)',
  )
  const poll = declare<[fds: Uint32Array, count: number, timeoutMs: number]>(
    'int poll(void *fds, unsigned long count, int timeout)',
  )
  const socket = declare<[family: number, type: number, protocol: number]>(
    'int socket(int family, int type, int protocol)',
  )
  const connect = declare<[fd: number, address: Uint8Array, length: number]>(
    'int connect(int fd, void *address, uint32_t length)',
  )
  const send = declare<[fd: number, bytes: Uint8Array, length: number, flags: number]>(
    'int64_t send(int fd, void *bytes, size_t length, int flags)',
  )
  const preadv2 = declareOptional(() =>
    declare<[fd: number, iov: number, count: number, offset: number, flags: number]>(
      'int64_t preadv2(int fd, uintptr_t iov, int count, int64_t offset, int flags)',
    ),
  )

  const inFlight = new Set<readonly unknown[]>()
  const waiting: (() => void)[] = []

  /**
   * Makes a call on a thread of koffi. `failure` returns the errno of a result. Buffers in `args` are kept
   * alive.
   */
  function later<A extends readonly unknown[]>(
    call: Native<A>,
    args: A,
    failure = (result: number) => (result < 0 ? koffi.errno() : 0),
  ): Promise<number> {
    return new Promise((resolve, reject) => {
      const done = (error: unknown, result: number) => {
        // Read errno first: the next call would overwrite it.
        const errno = error ? 0 : failure(result)
        inFlight.delete(args)
        if (errno === EINTR) return start()
        if (error) reject(error)
        else if (errno !== 0) reject(errnoError(koffi, errno, call.info.name))
        else resolve(result)
        waiting.shift()?.()
      }
      const start = () => {
        inFlight.add(args)
        try {
          call.async(...args, done)
        } catch (error) {
          done(error, 0)
        }
      }
      if (inFlight.size < inFlightMax) start()
      else waiting.push(start)
    })
  }

  function seek(fd: number, offset: number, whence: number): number | undefined {
    const found = lseek(fd, offset, whence)
    if (found >= 0) return found
    const errno = koffi.errno()
    if (errno === ENXIO) return undefined
    throw errnoError(koffi, errno, 'lseek')
  }

  async function seekLater(fd: number, offset: number, whence: number): Promise<number | undefined> {
    try {
      return await later(lseek, [fd, offset, whence])
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENXIO') return undefined
      throw error
    }
  }

  // One array for all calls, which are synchronous: filling it costs a third of filling a koffi struct. A
  // small array would lie in the heap of the engine, which moves objects, so this has a buffer of its own. It
  // holds an address and a length of 64 bits each, the lower half first, as on all of these processors.
  const iov = new Uint32Array(new ArrayBuffer(16))
  const iovAddress = Number(koffi.address(iov))

  let memory: ArrayBufferLike | undefined
  let memoryAddress = 0

  /** Most reads go into the same memory, and asking for its address costs a quarter of a cached read. */
  function addressOf(target: Uint8Array): number {
    if (target.buffer !== memory) {
      memoryAddress = Number(koffi.address(new Uint8Array(target.buffer)))
      memory = target.buffer
    }
    return memoryAddress + target.byteOffset
  }

  return {
    preadNoWait(fd, target, offset) {
      if (preadv2 === undefined) throw errnoError(koffi, koffi.os.errno.EOPNOTSUPP ?? 0, 'preadv2')
      const address = addressOf(target)
      iov[0] = address % 2 ** 32
      iov[1] = Math.floor(address / 2 ** 32)
      iov[2] = target.length
      const count = preadv2(fd, iovAddress, 1, offset, RWF_NOWAIT)
      if (count >= 0) return count
      const errno = koffi.errno()
      if (errno === EAGAIN) return -1
      throw errnoError(koffi, errno, 'preadv2')
    },
    seekData: (fd, offset) => seek(fd, offset, SEEK_DATA),
    seekHole: (fd, offset) => seek(fd, offset, SEEK_HOLE),
    inThread: {
      seekData: (fd, offset) => seekLater(fd, offset, SEEK_DATA),
      seekHole: (fd, offset) => seekLater(fd, offset, SEEK_HOLE),
    },
    seekEnd: (fd) => later(lseek, [fd, 0, SEEK_END]),
    fallocate: (fd, mode, offset, length) => done(later(fallocate, [fd, mode, offset, length])),
    fadvise: (fd, offset, length, advice) =>
      done(later(fadvise, [fd, offset, length, advice], (errno) => errno)),
    discard: (fd, offset, length) =>
      done(later(ioctl, [fd, BLKDISCARD, BigUint64Array.of(BigInt(offset), BigInt(length))])),
    async isRotational(fd) {
      const answer = new Uint16Array(1)
      await later(ioctl, [fd, BLKROTATIONAL, answer], () => 0)
      return answer[0] !== 0
    },
    datagramsTo(path) {
      const address = Buffer.concat([Uint8Array.of(AF_UNIX, 0), Buffer.from(`${path}\0`)])
      const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
      if (fd < 0) throw errnoError(koffi, koffi.errno(), 'socket')
      if (connect(fd, address, address.length) === 0) return fd
      const errno = koffi.errno()
      closeSync(fd)
      throw errnoError(koffi, errno, 'connect')
    },
    sendNoWait(fd, bytes) {
      const count = send(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL)
      if (count >= 0) return count
      const errno = koffi.errno()
      if (errno === EAGAIN || errno === koffi.os.errno.ENOBUFS) return undefined
      throw errnoError(koffi, errno, 'send')
    },
    setSendBuffer(fd, bytes) {
      if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, Int32Array.of(bytes), 4) < 0)
        throw errnoError(koffi, koffi.errno(), 'setsockopt')
    },
    pipe() {
      const ends = new Int32Array(2)
      if (pipe2(ends, O_CLOEXEC) < 0) throw errnoError(koffi, koffi.errno(), 'pipe2')
      return [ends[0] ?? -1, ends[1] ?? -1]
    },
    duplicate(fd) {
      const copy = fcntl(fd, F_DUPFD_CLOEXEC, 3)
      if (copy < 0) throw errnoError(koffi, koffi.errno(), 'fcntl')
      return copy
    },
    hasHungUp(fd) {
      // A descriptor, then 16 bits each of requested and returned events. Errors need no request.
      const pollfd = Uint32Array.of(fd, 0)
      return poll(pollfd, 1, 0) > 0 && (((pollfd[1] ?? 0) >>> 16) & (POLLERR | POLLHUP)) !== 0
    },
    peerCredentials(fd) {
      const [value, length] = [new Uint32Array(3), Uint32Array.of(12)]
      if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length) < 0) return undefined
      const [pid = 0, uid = 0, gid = 0] = value
      // A TCP socket also answers, with the user id -1.
      return uid === 0xffffffff ? undefined : { pid, uid, gid }
    },
  }
}

/** musl has preadv2 since 1.2.5. */
function declareOptional<F>(declare: () => F): F | undefined {
  try {
    return declare()
  } catch {
    return undefined
  }
}

async function done(result: Promise<unknown>): Promise<void> {
  await result
}

/** An error like Node's own: `ENOSPC: no space left on device, fallocate`. */
function errnoError(koffi: Koffi, errno: number, call: string): Error {
  const known = Object.entries(koffi.os.errno).find(([, number]) => number === errno)?.[0]
  // Two names share this number. The manual pages of these calls use this one.
  const code = known === 'ENOTSUP' ? 'EOPNOTSUPP' : (known ?? `E${errno}`)
  const text = code === 'EOPNOTSUPP' ? 'operation not supported' : getSystemErrorMap().get(-errno)?.[1]
  return Object.assign(new Error(`${code}: ${text ?? `error ${errno}`}, ${call}`), {
    code,
    errno: -errno,
    syscall: call,
  })
}
