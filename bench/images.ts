/** Images of disks, each made once, when a row first needs it. */
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

  /** The path of an image like this. */
  async pathOf(image: Image): Promise<string> {
    const made = this.#made.get(image.name)
    if (made !== undefined) return made
    const path = join(this.#folder, image.name.replaceAll(' ', '-'))
    await make(path, image)
    this.#made.set(image.name, path)
    return path
  }

  /** One that no other row needs: it is large. */
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
      // What is written back later would disturb what is measured then.
      await file.datasync()
    } else await fillBetween(file, bytes, holeBytes)
  } finally {
    await file.close()
  }
}

/** No two MiB alike, and none of it zeroes. */
async function fill(file: FileHandle, bytes: number): Promise<void> {
  const piece = randomFillSync(Buffer.alloc(MiB))
  for (let at = 0; at < bytes; at += MiB) {
    piece.writeUInt32LE(at / MiB + 1, 0)
    await file.write(piece, 0, MiB, at)
  }
}

/**
 * Data first, then a hole as long. It is not written back, which takes minutes for a million pieces: whether
 * they are data does not depend on that.
 */
async function fillBetween({ fd }: FileHandle, bytes: number, holeBytes: number): Promise<void> {
  const piece = Buffer.alloc(holeBytes, 'data')
  for (let count = 0, at = 0; at < bytes; count++, at += 2 * holeBytes) {
    writeSync(fd, piece, 0, piece.length, at)
    // Now and then a signal must get through.
    if (count % 4096 === 0) await turn()
  }
}

/** Brings all of a file into the page cache: what came before may have put it out. */
export async function recall(path: string): Promise<void> {
  await run('dd', 'dd', [`if=${path}`, 'of=/dev/null', 'bs=1M', 'status=none'])
}

/** Puts a file out of the page cache, as dd(1) says how. */
export async function forget(path: string): Promise<void> {
  await run('dd', 'dd', [`of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none'])
}
