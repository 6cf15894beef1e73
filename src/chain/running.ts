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
  /**
   * Tracks a call until its promise settles. Returns a promise of the same result, or of the result of
   * `check`. An error of either names the layer.
   */
  watch<T>(layer: string, operation: string, promise: Promise<T>, check?: (result: T) => T): Promise<T>
}

export class Running implements Watcher {
  readonly #calls = new Set<Call>()
  #idle: (() => void)[] = []

  /** The number of unsettled calls. */
  get size(): number {
    return this.#calls.size
  }

  watch<T>(layer: string, operation: string, promise: Promise<T>, check?: (result: T) => T): Promise<T> {
    return this.#note({ layer, operation, since: performance.now(), depth: 0 }, promise, check)
  }

  /** Returns a watcher for calls into a layer at this depth. */
  at(depth: number): Watcher {
    return {
      watch: (layer, operation, promise, check) => {
        const call = { layer, operation, since: performance.now(), depth }
        const result = this.#note(call, promise, check)
        // A filter may start a call and not await it. The server awaits all calls of the outermost layer.
        if (depth > 0) result.catch(ignore)
        return result
      },
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

  /** Every request that waits makes one promise here. */
  #note<T>(call: Call, promise: Promise<T>, check?: (result: T) => T): Promise<T> {
    this.#calls.add(call)
    return promise.then(
      (result) => {
        this.#settle(call)
        if (check === undefined) return result
        try {
          return check(result)
        } catch (error) {
          throw blamed(error, call.layer, call.operation)
        }
      },
      (error: unknown) => {
        this.#settle(call)
        throw blamed(error, call.layer, call.operation)
      },
    )
  }

  #settle(call: Call): void {
    this.#calls.delete(call)
    if (this.#calls.size > 0 || this.#idle.length === 0) return
    const idle = this.#idle
    this.#idle = []
    for (const resolve of idle) resolve()
  }
}

function ignore(): void {}
