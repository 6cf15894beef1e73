/**
 * A resolve hook for Node's module loader. On Node 20 it runs in a thread of its own (`module.register`), so
 * it imports nothing of ours; on later ones in the main thread (`module.registerHooks`).
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** Before a package's name: look for it from the working directory, not from the file that imports it. */
export const fromHere = 'working-directory:'

interface Context {
  readonly parentURL?: string | undefined
}

interface Resolved {
  readonly url: string
  readonly format?: string | null | undefined
}

/**
 * `nbdkit-ts`, imported from anywhere, is the package that this file belongs to: a user's plugin gets the API
 * of the program that runs it, with or without another copy beside it.
 */
export function resolve<C extends Context, R extends Resolved | Promise<Resolved>>(
  specifier: string,
  context: C,
  nextResolve: (specifier: string, context: C) => R,
): Resolved | Promise<Resolved> {
  const found = next()
  return 'url' in found ? asWritten(found) : found.then(asWritten)

  function next(): R {
    if (specifier === 'nbdkit-ts' || specifier.startsWith('nbdkit-ts/'))
      return nextResolve(specifier, { ...context, parentURL: import.meta.url })
    if (specifier.startsWith(fromHere)) {
      const parentURL = pathToFileURL('./').href
      return nextResolve(specifier.slice(fromHere.length), { ...context, parentURL })
    }
    return nextResolve(specifier, context)
  }
}

/**
 * `npm init` writes `"type": "commonjs"` into package.json, and Node then refuses `import` in each `.js` and
 * `.ts` near it. A file of the user that is written as a module is one: the text decides, not what stands
 * beside it.
 */
function asWritten(found: Resolved): Resolved {
  const { url, format } = found
  const extension = /^file:(?!.*\/node_modules\/).*\.c?(js|ts)$/.exec(url)?.[1]
  if (extension === undefined || format?.startsWith('module') || !hasModuleSyntax(url)) return found
  return { ...found, format: extension === 'js' ? 'module' : 'module-typescript' }
}

const declared = 'default|const|let|var|function|class|async|type|interface|enum|abstract|declare'

/** Not `import sys` or `export A=1`, which stand in the texts of other languages that a plugin may hold. */
const moduleSyntax = new RegExp(
  `^import\\s*(?:['"{*]|type\\s|[\\w$]+\\s*(?:,|from\\b))|^export\\s*(?:[{*]|(?:${declared})\\b)`,
  'm',
)

export function hasModuleSyntax(url: string): boolean {
  try {
    return moduleSyntax.test(readFileSync(fileURLToPath(url), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, ''))
  } catch {
    // The loader will say why it cannot be read.
    return false
  }
}
