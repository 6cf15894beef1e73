/** Images of disks. Each is made once, when a row first needs it. */
import { randomFillSync } from 'node:crypto'
import { rmSync, writeSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { makeFolder, removeFolder, run } from './children.js'
import type { Image } from './row.js'

const MiB = 2 ** 20

export class Images {
  readonly #folder = makeFolder()
  readonly #made = new Map<string, string>()

  /** Returns the path of such an image. */
  async pathOf(image: Image): Promise<string> {
    const made = this.#made.get(image.name)
    if (made !== undefined) return made
    const path = join(this.#folder, image.name.replaceAll(' ', '-'))
    await make(path, image)
    this.#made.set(image.name, path)
    return path
  }

  /** Removes an image that no other row needs, because it is large. */
  remove(image: Image): void {
    const path = this.#made.get(image.name)
    if (path === undefined) return
    rmSync(path)
    this.#made.delete(image.name)
  }

  removeAll(): void {
    removeFolder(this.#folder)
  }
}

async function make(path: string, { bytes, holeBytes }: Image): Promise<void> {
  const file = await open(path, 'wx')
  try {
    await file.truncate(bytes)
    if (holeBytes === undefined) {
      await fill(file, bytes)
      // Sync now: writeback later would disturb measurements.
      await file.datasync()
    } else await fillBetween(file, bytes, holeBytes)
  } finally {
    await file.close()
  }
}

/** Fills a file: no two MiB are alike, and none are zeroes. */
async function fill(file: FileHandle, bytes: number): Promise<void> {
  const piece = randomFillSync(Buffer.alloc(MiB))
  for (let at = 0; at < bytes; at += MiB) {
    piece.writeUInt32LE(at / MiB + 1, 0)
    await file.write(piece, 0, MiB, at)
  }
}

/**
 * Writes data, then a hole of the same length, and so on. Does not sync, which takes minutes for a million
 * pieces: the pieces count as data without it.
 */
async function fillBetween({ fd }: FileHandle, bytes: number, holeBytes: number): Promise<void> {
  const piece = Buffer.alloc(holeBytes, 'data')
  for (let count = 0, at = 0; at < bytes; count++, at += 2 * holeBytes) {
    writeSync(fd, piece, 0, piece.length, at)
    // Let a signal through now and then.
    if (count % 4096 === 0) await turn()
  }
}

/** Reads a whole file into the page cache, from which earlier runs may have evicted it. */
export async function recall(path: string): Promise<void> {
  await run('dd', 'dd', [`if=${path}`, 'of=/dev/null', 'bs=1M', 'status=none'])
}

/** Evicts a file from the page cache, in the way dd(1) describes. */
export async function forget(path: string): Promise<void> {
  await run('dd', 'dd', [`of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none'])
}
