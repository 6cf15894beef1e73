/**
 * Notices that the process has no file descriptors left. The library below Node turns clients away then, and
 * tells nobody. So whoever gets one of the last descriptors makes us look until there are enough again.
 */
import { closeSync, openSync, readFileSync } from 'node:fs'

/** So few descriptors left make us look. */
const few = 32
/** Between two looks, in ms. */
const intervalMs = 100
/** So many looks in a row that find enough are the end of a shortage: in between, clients come and go. */
const looksMin = 10

/** What the system says: something else in a test. */
export interface Descriptors {
  /** The highest that there may be, and one. */
  readonly limit: number
  /** The lowest that is free; undefined where there is none. */
  lowestFree(): number | undefined
}

export class Shortage {
  readonly #tell: () => void
  readonly #descriptors: Descriptors
  #told = false
  #goodLooks = 0
  #timer: NodeJS.Timeout | undefined

  /** @param tell called once for each time that descriptors run out. */
  constructor(tell: () => void, descriptors = system) {
    this.#tell = tell
    this.#descriptors = descriptors
  }

  /** A client has got this descriptor. */
  given(fd: number | undefined): void {
    if (fd !== undefined && fd >= this.#descriptors.limit - few) this.#watch()
  }

  /** There was none left, as somebody who needed one was told. */
  happened(): void {
    if (!this.#told) this.#tell()
    this.#told = true
    this.#goodLooks = 0
    this.#watch()
  }

  end(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #watch(): void {
    this.#timer ??= setInterval(() => this.#look(), intervalMs).unref()
  }

  #look(): void {
    const free = this.#descriptors.lowestFree()
    this.#goodLooks = free !== undefined && free < this.#descriptors.limit - few ? this.#goodLooks + 1 : 0
    if (free === undefined) this.happened()
    if (this.#goodLooks < looksMin) return
    this.#told = false
    this.end()
  }
}

const system: Descriptors = {
  get limit() {
    limit ??= readLimit()
    return limit
  },
  lowestFree() {
    try {
      const fd = openSync('/dev/null', 'r')
      closeSync(fd)
      return fd
    } catch {
      return undefined
    }
  },
}

let limit: number | undefined

/** Node has raised it as far as it may be. Without end where the system does not tell. */
function readLimit(): number {
  try {
    const [, text] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return Number(text ?? Number.POSITIVE_INFINITY)
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
