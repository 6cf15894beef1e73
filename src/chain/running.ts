import { blamed } from './blame.js'

/**
 * Which callbacks have been called and have not yet settled. Only those that returned a Promise are noted, so
 * a device that answers at once pays nothing. A connection waits for them before it closes its devices (S8),
 * and when a shutdown cannot finish they name the culprit (S9).
 */
export interface Call {
  readonly layer: string
  readonly operation: string
  /** From `performance.now()`, in ms. */
  readonly since: number
  /** How far inside the chain the layer is: 0 is the outermost. */
  readonly depth: number
}

/** What notes the calls into layers. */
export interface Watcher {
  /** Notes a call until its promise settles; gives the promise back. */
  watch<T>(layer: string, operation: string, promise: Promise<T>): Promise<T>
}

export class Running implements Watcher {
  readonly #calls = new Set<Call>()
  #idle: (() => void)[] = []

  /** Calls that are out. */
  get size(): number {
    return this.#calls.size
  }

  watch<T>(layer: string, operation: string, promise: Promise<T>): Promise<T> {
    return this.at(0).watch(layer, operation, promise)
  }

  /** Notes the calls into a layer so deep inside the chain. */
  at(depth: number): Watcher {
    return {
      watch: (layer, operation, promise) =>
        this.#note({ layer, operation, since: performance.now(), depth }, promise),
    }
  }

  /** Resolves when no call is out: one that a filter did not wait for counts too. */
  async settled(): Promise<void> {
    while (this.#calls.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  /** The innermost call that is still out, the oldest of those: it keeps the others waiting. */
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
