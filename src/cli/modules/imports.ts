/** Imports users' files: JavaScript and TypeScript, from anywhere on the disk. */
import * as nodeModule from 'node:module'
import { pathToFileURL } from 'node:url'
import { ConfigError } from '../../api/errors.js'
import { fromHere, resolve } from './api-hook.js'
import { couldNotLoad, explain, isTypeScript, needsJiti } from './load-errors.js'

let hooked = false

/** Makes our API available to everything imported from now on. */
async function provideApi(): Promise<void> {
  if (hooked) return
  hooked = true
  // Node 22 cannot `require` a partly loaded module, so load all of it here.
  await import('../../index.js')
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

/** Imports with Node. TypeScript that Node cannot load is loaded with jiti, where it is installed. */
async function orByJiti(beside: string, name: string, byNode: () => Promise<unknown>): Promise<unknown> {
  try {
    return await byNode()
  } catch (error) {
    const isForJiti = needsJiti(error) || (couldNotLoad(error) && isTypeScript(name))
    if (!isForJiti) throw error
    const jiti = await (await import('./jiti.js')).jitiBeside(beside)
    if (jiti === undefined) throw error
    return jiti.import(name).catch((again: unknown) => {
      // Where jiti fails in the same way, Node's message is better. Otherwise jiti got further.
      throw couldNotLoad(again) && !needsJiti(error) ? error : again
    })
  }
}
