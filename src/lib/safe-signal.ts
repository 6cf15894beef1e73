/**
 * An AbortSignal whose listeners may throw. With a plain one, Node ends the program when a layer's listener
 * throws.
 */

type Listener = ((event: Event) => unknown) | { handleEvent(event: Event): unknown } | null | undefined
type Listen = (type: string, listener: Listener, options?: unknown) => void

/**
 * Makes the controller of a signal that layers listen to. Passes exceptions of a listener to `failed`, and
 * also the rejection of a Promise that a listener returns.
 */
export function safeController(failed: (error: unknown) => void): AbortController {
  const controller = new AbortController()
  const { signal } = controller
  const add: Listen = signal.addEventListener.bind(signal) as Listen
  const remove: Listen = signal.removeEventListener.bind(signal) as Listen
  const wrappers = new WeakMap<object, (event: Event) => void>()
  const wrap = (listener: Listener): Listener => {
    if (listener === null || listener === undefined) return listener
    const wrapper = wrappers.get(listener) ?? caught(listener, signal, failed)
    wrappers.set(listener, wrapper)
    return wrapper
  }
  let onabort: Listener
  Object.defineProperties(signal, {
    addEventListener: {
      value: (...[type, listener, options]: Parameters<Listen>) => add(type, wrap(listener), options),
    },
    removeEventListener: {
      value: (...[type, listener, options]: Parameters<Listen>) => remove(type, wrap(listener), options),
    },
    onabort: {
      get: () => onabort ?? null,
      set(listener: Listener) {
        remove('abort', wrap(onabort))
        onabort = typeof listener === 'function' ? listener : undefined
        if (onabort) add('abort', wrap(onabort))
      },
    },
  })
  return controller
}

function caught(
  listener: NonNullable<Listener>,
  signal: AbortSignal,
  failed: (error: unknown) => void,
): (event: Event) => void {
  return (event) => {
    try {
      const done = typeof listener === 'function' ? listener.call(signal, event) : listener.handleEvent(event)
      if (done instanceof Promise) done.catch(failed)
    } catch (error) {
      failed(error)
    }
  }
}
