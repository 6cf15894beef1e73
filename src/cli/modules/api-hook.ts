/**
 * A resolve hook for Node's module loader. On Node 20 the hook runs in a thread of its own
 * (`module.register`), so it imports none of our modules. On later versions it runs in the main thread
 * (`module.registerHooks`).
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** Prefix of a package name that is looked up from the working directory instead of the importing file. */
export const fromHere = 'working-directory:'

interface Context {
  readonly parentURL?: string | undefined
}

interface Resolved {
  readonly url: string
  readonly format?: string | null | undefined
}

/**
 * Resolves `nbdkit-ts`, imported from anywhere, to the package of this file. A user's plugin thus gets the
 * API of the program that runs it, with or without another copy beside it.
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
 * `.ts` file there. A user's file that is written as a module is loaded as one: its text decides, and not
 * package.json.
 */
function asWritten(found: Resolved): Resolved {
  const { url, format } = found
  const extension = /^file:(?!.*\/node_modules\/).*\.c?(js|ts)$/.exec(url)?.[1]
  if (extension === undefined || format?.startsWith('module') || !hasModuleSyntax(url)) return found
  return { ...found, format: extension === 'js' ? 'module' : 'module-typescript' }
}

const declared = 'default|const|let|var|function|class|async|type|interface|enum|abstract|declare'

/** Does not match `import sys` or `export A=1`, which a plugin may contain in texts of other languages. */
const moduleSyntax = new RegExp(
  `^import\\s*(?:['"{*]|type\\s|[\\w$]+\\s*(?:,|from\\b))|^export\\s*(?:[{*]|(?:${declared})\\b)`,
  'm',
)

export function hasModuleSyntax(url: string): boolean {
  try {
    return moduleSyntax.test(readFileSync(fileURLToPath(url), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, ''))
  } catch {
    // The loader reports why the file cannot be read.
    return false
  }
}
