/** Loads with jiti, where it is installed, the TypeScript that Node itself does not load. */
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { filters } from '../../filters/catalog.js'
import { plugins } from '../../plugins/catalog.js'
import { ourPackage } from '../describe/package.js'

type Jiti = ReturnType<typeof import('jiti').createJiti>

/**
 * Returns the jiti that is installed beside a file, else the one beside us. Undefined where there is none.
 */
export async function jitiBeside(path: string): Promise<Jiti | undefined> {
  for (const file of [path, fileURLToPath(import.meta.url)])
    try {
      const { createJiti } = await import(pathToFileURL(createRequire(file).resolve('jiti')).href)
      // Versions before 2 do not have this function.
      if (createJiti)
        return createJiti(path, { virtualModules: api(), fsCache: false, interopDefault: false })
    } catch {
      // jiti is not here, or cannot be loaded itself.
    }
  return undefined
}

/**
 * jiti resolves names by itself, so the module loader's hook cannot tell it where our API is. Each module is
 * loaded only when requested.
 */
function api(): Record<string, unknown> {
  const require = createRequire(import.meta.url)
  const names = Object.keys(ourPackage().exports).flatMap((path) => {
    const catalog = path === './plugins/*' ? plugins : path === './filters/*' ? filters : undefined
    return catalog ? Object.keys(catalog).map((name) => path.replace('*', name)) : [path]
  })
  const getters = names
    .map((path) => `nbdkit-ts${path.slice(1)}`)
    .map((name) => [name, { get: () => require(name), enumerable: true }] as const)
  return Object.defineProperties({}, Object.fromEntries(getters))
}
