/** The blocks of a disk that were written or trimmed, in a temporary file that is as sparse as they are. */
import { closeSync } from 'node:fs'
import type { Alloc, Data } from '../../api/device.js'
import type { MaybePromise } from '../../api/maybe.js'
import { Bitmap } from '../../lib/bitmap.js'
import { reader, writer } from '../../lib/file-bytes.js'
import { RangeLocks } from '../../lib/range-locks.js'
import { libc } from '../../os/libc.js'
import { Patience } from '../../os/patience.js'
import { openTemporaryFile } from '../../os/temporary-file.js'

/** `below`: the block is that of the disk below. `trimmed`: it reads as zeroes. */
export type BlockState = 'below' | 'written' | 'trimmed'

/** Blocks of one state, in bytes. */
export interface Run {
  readonly state: BlockState
  readonly length: number
}

export class Overlay {
  readonly blockBytes: number
  /** By block, for what changes blocks. */
  readonly locks = new RangeLocks()
  readonly #fd = openTemporaryFile()
  readonly #read: (offset: number, length: number, alloc: Alloc) => MaybePromise<Data>
  /** Writes bytes, and changes the state of no block. */
  readonly put: (offset: number, data: Uint8Array) => MaybePromise<void>
  #written: Bitmap
  #trimmed: Bitmap

  /** @throws ConfigError where no temporary file can be made. */
  constructor(size: number, blockBytes: number) {
    this.blockBytes = blockBytes
    const patience = new Patience()
    this.#read = reader(this.#fd, { libc: libc(), patience, polledReads: undefined })
    this.put = writer(this.#fd, patience)
    this.#written = new Bitmap(Math.ceil(size / blockBytes))
    this.#trimmed = new Bitmap(this.#written.size)
  }

  /** Takes the size of the disk below, which may have grown since another client opened it. */
  fit(size: number): void {
    const blocks = Math.ceil(size / this.blockBytes)
    if (blocks <= this.#written.size) return
    this.#written = this.#written.grownTo(blocks)
    this.#trimmed = this.#trimmed.grownTo(blocks)
  }

  state(block: number): BlockState {
    if (this.#written.has(block)) return 'written'
    return this.#trimmed.has(block) ? 'trimmed' : 'below'
  }

  /** The run of blocks of one state that begins at `offset`, cut at `end`. */
  runAt(offset: number, end: number): Run {
    const first = Math.floor(offset / this.blockBytes)
    const blocks = Math.ceil(end / this.blockBytes)
    const state = this.state(first)
    const nextWritten = this.#written.next(state !== 'written', first, blocks)
    const nextTrimmed = state === 'written' ? blocks : this.#trimmed.next(state !== 'trimmed', first, blocks)
    const stop = Math.min(end, Math.min(nextWritten, nextTrimmed) * this.blockBytes)
    return { state, length: stop - offset }
  }

  /** Reads bytes of written blocks. */
  read(offset: number, length: number, alloc: Alloc): MaybePromise<Data> {
    return this.#read(offset, length, alloc)
  }

  /** Marks the blocks of a range. It ends with a block, or at the end of the disk. */
  mark(state: 'written' | 'trimmed', offset: number, end: number): void {
    const [first, last] = [Math.floor(offset / this.blockBytes), Math.ceil(end / this.blockBytes)]
    const [set, clear] = state === 'written' ? [this.#written, this.#trimmed] : [this.#trimmed, this.#written]
    set.set(first, last)
    clear.clear(first, last)
  }

  close(): void {
    closeSync(this.#fd)
  }
}
