/** An open file as a device. */
import type { DeviceInit } from '../../api/device.js'
import type { Log } from '../../api/log.js'
import { andThen, type MaybePromise } from '../../api/maybe.js'
import { type ReaderOptions, reader, sync, writer } from '../../lib/file-bytes.js'
import { isRemote } from '../../os/file-system.js'
import {
  type Libc,
  POSIX_FADV_DONTNEED,
  POSIX_FADV_RANDOM,
  POSIX_FADV_SEQUENTIAL,
  POSIX_FADV_WILLNEED,
} from '../../os/libc.js'
import { noPatience } from '../../os/patience.js'
import { clearer, findExtents, tellsHoles } from './holes.js'
import { closeFd, type OpenFile, sizeOf } from './open-file.js'

/** Without `libc` there are no holes and no hints. Everything else works. */
export interface DiskOptions extends ReaderOptions {
  readonly log: Log
  /** The hint for the kernel about future reads. */
  readonly fadvise: 'normal' | 'random' | 'sequential'
  /** False: the page cache is emptied of data read and written. */
  readonly keepCached: boolean
}

const advice = { random: POSIX_FADV_RANDOM, sequential: POSIX_FADV_SEQUENTIAL }

/** Makes the device and takes ownership of `file`, which is closed with the device or when this fails. */
export async function fileDisk(file: OpenFile, options: DiskOptions): Promise<DeviceInit> {
  try {
    return await makeDisk(file, options)
  } catch (error) {
    if (file.owned) await closeFd(file.fd)
    throw error
  }
}

async function makeDisk(file: OpenFile, given: DiskOptions): Promise<DeviceInit> {
  const { fd, isBlock, writable, owned } = file
  const options = (await isRemote(fd)) ? { ...given, patience: noPatience } : given
  const { libc, log, fadvise, patience } = options
  const size = await sizeOf(file, libc)
  if (libc && fadvise !== 'normal') await libc.fadvise(fd, 0, 0, advice[fadvise])
  const cache = libc && !options.keepCached ? evictor(fd, libc) : undefined
  const read = reader(fd, options)
  const write = writer(fd, patience)

  const reading: DeviceInit = {
    size,
    rotational: isBlock && libc !== undefined && (await libc.isRotational(fd)),
    can: {
      multiConn: true,
      // Without hints, reading brings data into the page cache.
      cache: libc ? 'native' : 'emulate',
    },
    read: cache
      ? (offset, length, alloc) =>
          andThen(read(offset, length, alloc), (data) => andThen(cache.used(length), () => data))
      : read,
    flush: cache ? () => sync(fd).then(cache.evict) : () => sync(fd),
    async close() {
      await cache?.evict()
      if (owned) await closeFd(fd)
    },
  }
  if (libc) {
    if (await tellsHoles(libc, fd)) reading.extents = findExtents(libc, patience, fd, size)
    reading.cache = (offset, length) => libc.fadvise(fd, offset, length, POSIX_FADV_WILLNEED)
  }
  if (!writable) return reading

  return {
    ...reading,
    can: { ...reading.can, fua: 'native', fastZero: true },
    write: (offset, data, { fua }) => {
      const written = write(offset, data)
      const done = cache ? andThen(written, () => cache.used(data.length)) : written
      return fua ? andThen(done, () => sync(fd)) : done
    },
    ...clearer({ fd, isBlock, libc, log }),
  }
}

/** With `cache=none`, the page cache is emptied whenever this many bytes have gone through it. */
const evictEveryBytes = 8 * 1024 * 1024

/**
 * Keeps the file out of the page cache (posix_fadvise(2), POSIX_FADV_DONTNEED). Pages not yet on the disk
 * cannot be dropped, but the kernel starts writing them out when asked, and the next call drops them.
 */
function evictor(fd: number, libc: Libc) {
  let usedBytes = 0
  const evict = () => {
    usedBytes = 0
    return libc.fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)
  }
  return {
    evict,
    used(length: number): MaybePromise<void> {
      usedBytes += length
      if (usedBytes >= evictEveryBytes) return evict()
    },
  }
}
