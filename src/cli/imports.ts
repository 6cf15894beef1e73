/** Imports what a user wrote: JavaScript and TypeScript, from anywhere on the disk. */
import { spawnSync } from 'node:child_process'
import * as nodeModule from 'node:module'
import { extname } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { ConfigError, messageOf } from '../api/errors.js'
import { fromHere, resolve } from './api-hook.js'

let hooked = false

/** Lets everything that is imported from now on find our API. */
function provideApi(): void {
  if (hooked) return
  hooked = true
  const { registerHooks } = nodeModule as { registerHooks?: (hooks: { resolve: typeof resolve }) => void }
  if (registerHooks) registerHooks({ resolve })
  else nodeModule.register(new URL('api-hook.js', import.meta.url))
}

/** @throws ConfigError that names the file, and the line where it is known. */
export async function importFile(path: string): Promise<unknown> {
  provideApi()
  const native = (process.features as { typescript?: unknown }).typescript
  const needsJiti = /^\.[cm]?ts$/.test(extname(path)) && !native
  const importTypeScript = needsJiti ? (await import('./jiti.js')).importTypeScript : undefined
  try {
    return await (importTypeScript ?? importUrl)(path)
  } catch (error) {
    throw new ConfigError(explain(path, error), { cause: error })
  }
}

function importUrl(path: string): Promise<unknown> {
  return import(pathToFileURL(path).href)
}

/** @throws ConfigError that names the package. */
export async function importPackage(name: string): Promise<unknown> {
  provideApi()
  try {
    return await import(fromHere + name)
  } catch (error) {
    throw new ConfigError(`cannot load the package ${name}: ${withPlace(error) ?? messageOf(error)}`, {
      cause: error,
    })
  }
}

function explain(path: string, error: unknown): string {
  const known = withPlace(error)
  if (known !== undefined) return `cannot load ${known}`
  if (error instanceof SyntaxError) {
    // For JavaScript Node tells the place of a syntax error to nobody but the reader of its own report.
    const report = spawnSync(process.execPath, ['--check', path], { encoding: 'utf8' }).stderr
    const line = place(report)
    return line === undefined
      ? `cannot load ${path}: SyntaxError in a file that it imports: ${error.message}`
      : `cannot load ${line}: SyntaxError: ${error.message}`
  }
  return `cannot load ${path}: ${messageOf(error)}`
}

/** `FILE:LINE: MESSAGE`, when the error knows its place. */
function withPlace(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const line = place(error.stack ?? '')
  const name = error.name === 'Error' ? '' : `${error.name}: `
  return line === undefined ? undefined : `${line}: ${name}${error.message.split('\n', 1)[0]?.trim()}`
}

const ours = new URL('.', import.meta.url).href

/**
 * The first file and line that a stack names, and that is the user's. That of a syntax error stands on a line
 * of its own, that of any other error in the first line after `at`.
 */
function place(stack: string): string | undefined {
  const alone = /^ ?((?:file:\/\/)?\/.*?):(\d+)(?::\d+)?$/gm
  const frame = /^ +at (?:.*\()?((?:file:\/\/)?\/.*?):(\d+):\d+\)?$/gm
  for (const [, file, line] of [...stack.matchAll(alone), ...stack.matchAll(frame)])
    if (file && !file.startsWith(ours) && !file.includes('/node_modules/jiti/'))
      return `${file.startsWith('file:') ? fileURLToPath(file) : file}:${line}`
  return undefined
}
