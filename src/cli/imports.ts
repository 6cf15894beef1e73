/** Imports what a user wrote: JavaScript and TypeScript, from anywhere on the disk. */
import * as nodeModule from 'node:module'
import { pathToFileURL } from 'node:url'
import { ConfigError } from '../api/errors.js'
import { fromHere, resolve } from './api-hook.js'
import { couldNotLoad, explain, isTypeScript, needsJiti } from './load-errors.js'

let hooked = false

/** Lets everything that is imported from now on find our API. */
async function provideApi(): Promise<void> {
  if (hooked) return
  hooked = true
  // Node 22 cannot `require` a module of which it has loaded a part: here is the whole.
  await import('../index.js')
  const { registerHooks } = nodeModule as { registerHooks?: (hooks: { resolve: typeof resolve }) => void }
  if (registerHooks) registerHooks({ resolve })
  else nodeModule.register(new URL('api-hook.js', import.meta.url))
}

/** @throws ConfigError that names the file, and the line where it is known. */
export async function importFile(path: string): Promise<unknown> {
  await provideApi()
  try {
    return await orByJiti(path, path, () => import(pathToFileURL(path).href))
  } catch (error) {
    throw new ConfigError(`cannot load ${explain(error, path)}`, { cause: error })
  }
}

/** @throws ConfigError that names the package. */
export async function importPackage(name: string): Promise<unknown> {
  await provideApi()
  try {
    return await orByJiti(`${process.cwd()}/`, name, () => import(fromHere + name))
  } catch (error) {
    throw new ConfigError(`cannot load the package ${name}: ${explain(error)}`, { cause: error })
  }
}

/** As Node loads it; what Node cannot load of TypeScript, as jiti does, where it is installed. */
async function orByJiti(beside: string, name: string, byNode: () => Promise<unknown>): Promise<unknown> {
  try {
    return await byNode()
  } catch (error) {
    const isForJiti = needsJiti(error) || (couldNotLoad(error) && isTypeScript(name))
    if (!isForJiti) throw error
    const jiti = await (await import('./jiti.js')).jitiBeside(beside)
    if (jiti === undefined) throw error
    return jiti.import(name).catch((again: unknown) => {
      // Where jiti is no wiser, Node's words are the better ones. Else it came further.
      throw couldNotLoad(again) && !needsJiti(error) ? error : again
    })
  }
}
