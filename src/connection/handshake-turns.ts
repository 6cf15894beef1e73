/** How long the handshakes of all clients may work in one turn of the event loop, in ms. */
const turnMs = 1

/** The clock and the event loop. A test replaces them. */
export interface Loop {
  /** In ms. */
  now(): number
  /** Calls back in the next turn. */
  next(callback: () => void): void
}

const realLoop: Loop = { now: () => performance.now(), next: setImmediate }

/**
 * Bounds the work of handshakes in one turn of the event loop, however many options clients send ahead.
 * Handshakes take turns, so clients in the transmission phase hardly notice.
 */
export class HandshakeTurns {
  readonly #loop: Loop
  #waiting: { readonly who: object; readonly go: () => void }[] = []
  /** The client whose turn it is, or undefined while there is time for everyone. */
  #whose: object | undefined
  #counting = false
  #until = 0

  constructor(loop: Loop = realLoop) {
    this.#loop = loop
  }

  /**
   * Called before each piece of work. Returns undefined where the work may go on. Otherwise returns a promise
   * that resolves when the turn of `who` comes.
   */
  next(who: object): Promise<void> | undefined {
    const now = this.#loop.now()
    if (!this.#counting) {
      this.#counting = true
      this.#until = now + turnMs
      this.#loop.next(this.#nextTurn)
    }
    const mayGoOn = this.#whose === undefined || this.#whose === who
    if (mayGoOn && now < this.#until) return undefined
    return new Promise((go) => this.#waiting.push({ who, go }))
  }

  #nextTurn = (): void => {
    const first = this.#waiting.shift()
    this.#whose = first?.who
    this.#counting = first !== undefined
    if (first === undefined) return
    this.#until = this.#loop.now() + turnMs
    this.#loop.next(this.#nextTurn)
    first.go()
  }
}
