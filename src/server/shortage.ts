/**
 * Notices that the process has run out of file descriptors. The library below Node then turns clients away
 * without any notice. So a client that gets one of the last descriptors starts a watch, which runs until
 * there are enough again.
 */
import { closeSync, openSync, readFileSync } from 'node:fs'

/** The watch starts when at most this many descriptors are left. */
const few = 32
/** Time between two checks, in ms. */
const intervalMs = 100
/** A shortage is over after this many good checks in a row, because clients come and go in between. */
const looksMin = 10

/** What the system reports. A test replaces it. */
export interface Descriptors {
  /** The highest possible descriptor, plus one. */
  readonly limit: number
  /** The lowest free descriptor; undefined where there is none. */
  lowestFree(): number | undefined
}

export class Shortage {
  readonly #tell: () => void
  readonly #descriptors: Descriptors
  #told = false
  #goodLooks = 0
  #timer: NodeJS.Timeout | undefined

  /** @param tell called once each time that descriptors run out. */
  constructor(tell: () => void, descriptors = system) {
    this.#tell = tell
    this.#descriptors = descriptors
  }

  /** Reports the descriptor that a client got. */
  given(fd: number | undefined): void {
    if (fd === undefined || fd < this.#descriptors.limit - few) return
    this.#watch()
    // At once, too: descriptors that the program uses for a moment may be back by the next look.
    this.#look()
  }

  /** Reports that there was no descriptor left. */
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

/** Node has raised the limit as far as allowed. Infinity where the system does not tell. */
function readLimit(): number {
  try {
    const [, text] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return Number(text ?? Number.POSITIVE_INFINITY)
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
