/**
 * Which callbacks have been called and have not yet settled. Only those that returned a Promise are noted,
 * so a device that answers at once pays nothing. It is what names the culprit when a shutdown cannot finish (S9).
 */
export interface Call {
  readonly layer: string
  readonly operation: string
  /** From `performance.now()`, in ms. */
  readonly since: number
}

export class Running {
  readonly #calls = new Set<Call>()

  get size(): number {
    return this.#calls.size
  }

  /** Notes a call until its promise settles; gives the promise back. */
  watch<T>(layer: string, operation: string, promise: Promise<T>): Promise<T> {
    const call: Call = { layer, operation, since: performance.now() }
    this.#calls.add(call)
    const done = () => void this.#calls.delete(call)
    promise.then(done, done)
    return promise
  }

  /** The innermost call that is still out: the last layer entered is the one that keeps the others waiting. */
  stuck(): Call | undefined {
    return [...this.#calls].at(-1)
  }
}
