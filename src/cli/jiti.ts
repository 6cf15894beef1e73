/** TypeScript on a Node that does not strip types itself (before 22.18): by jiti, where it is installed. */
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { filters } from '../filters/catalog.js'
import { plugins } from '../plugins/catalog.js'
import { ourPackage } from './package.js'

/** @throws Error when jiti is not installed, else what the file threw. */
export async function importTypeScript(path: string): Promise<unknown> {
  const { createJiti } = await findJiti()
  const jiti = createJiti(import.meta.url, { alias: aliases(), fsCache: false, interopDefault: false })
  return jiti.import(path)
}

/** Beside us, or where the user has installed it. */
async function findJiti(): Promise<typeof import('jiti')> {
  try {
    return await import('jiti')
  } catch {
    try {
      return await import(pathToFileURL(createRequire(`${process.cwd()}/`).resolve('jiti')).href)
    } catch (error) {
      const node = `Node ${process.versions.node} does not run TypeScript`
      throw new Error(`${node}: use 22.18 or later, or "npm install jiti"`, { cause: error })
    }
  }
}

/** jiti resolves names by itself, so the hook of the module loader cannot tell it where our API is. */
function aliases(): Record<string, string> {
  const names = Object.keys(ourPackage().exports).flatMap((path) => {
    const catalog = path === './plugins/*' ? plugins : path === './filters/*' ? filters : undefined
    return catalog ? Object.keys(catalog).map((name) => path.replace('*', name)) : [path]
  })
  return Object.fromEntries(
    names
      .map((path) => `nbdkit-ts${path.slice(1)}`)
      .map((name) => [name, fileURLToPath(import.meta.resolve(name))]),
  )
}
