/**
 * A resolve hook for Node's module loader. On Node 20 it runs in a thread of its own (`module.register`), so
 * it imports nothing of ours; on later ones in the main thread (`module.registerHooks`).
 */
import { pathToFileURL } from 'node:url'

/** Before a package's name: look for it from the working directory, not from the file that imports it. */
export const fromHere = 'working-directory:'

interface Context {
  readonly parentURL?: string | undefined
}

/**
 * `nbdkit-ts`, imported from anywhere, is the package that this file belongs to: a user's plugin gets the API
 * of the program that runs it, with or without another copy beside it.
 */
export function resolve<C extends Context, R>(
  specifier: string,
  context: C,
  nextResolve: (specifier: string, context: C) => R,
): R {
  if (specifier === 'nbdkit-ts' || specifier.startsWith('nbdkit-ts/'))
    return nextResolve(specifier, { ...context, parentURL: import.meta.url })
  if (specifier.startsWith(fromHere))
    return nextResolve(specifier.slice(fromHere.length), { ...context, parentURL: pathToFileURL('./').href })
  return nextResolve(specifier, context)
}
