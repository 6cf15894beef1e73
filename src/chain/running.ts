import { blamed } from './blame.js'

/**
 * Tracks callbacks that have not settled. Only calls that returned a Promise are tracked, so a device that
 * answers at once pays nothing. A connection waits for them before it closes its devices (S8). When a
 * shutdown cannot finish, they name the culprit (S9).
 */
export interface Call {
  readonly layer: string
  readonly operation: string
  /** From `performance.now()`, in ms. */
  readonly since: number
  /** The depth of the layer in the chain: 0 is the outermost. */
  readonly depth: number
}

/** Tracks calls into layers. */
export interface Watcher {
  /** Tracks a call until its promise settles. Returns the promise. */
  watch<T>(layer: string, operation: string, promise: Promise<T>): Promise<T>
}

export class Running implements Watcher {
  readonly #calls = new Set<Call>()
  #idle: (() => void)[] = []

  /** The number of unsettled calls. */
  get size(): number {
    return this.#calls.size
  }

  watch<T>(layer: string, operation: string, promise: Promise<T>): Promise<T> {
    return this.at(0).watch(layer, operation, promise)
  }

  /** Returns a watcher for calls into a layer at this depth. */
  at(depth: number): Watcher {
    return {
      watch: (layer, operation, promise) =>
        this.#note({ layer, operation, since: performance.now(), depth }, promise),
    }
  }

  /** Resolves when no call is unsettled, including calls that a filter did not await. */
  async settled(): Promise<void> {
    while (this.#calls.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  /** The innermost unsettled call, and the oldest of those: the others wait for it. */
  stuck(): Call | undefined {
    let found: Call | undefined
    for (const call of this.#calls) if (found === undefined || call.depth > found.depth) found = call
    return found
  }

  #note<T>(call: Call, promise: Promise<T>): Promise<T> {
    this.#calls.add(call)
    const done = () => {
      this.#calls.delete(call)
      if (this.#calls.size > 0) return
      const idle = this.#idle
      this.#idle = []
      for (const resolve of idle) resolve()
    }
    promise.then(done, (error: unknown) => {
      blamed(error, call.layer, call.operation)
      done()
    })
    return promise
  }
}
