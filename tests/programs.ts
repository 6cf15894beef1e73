/** Where this package is, and where programs of others are: for tests, and for the benchmark. */
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const packageRoot = rootAbove(dirname(fileURLToPath(import.meta.url)))

/** What is compiled lies in a folder of its own, below. */
function rootAbove(directory: string): string {
  return existsSync(join(directory, 'package.json')) ? directory : rootAbove(dirname(directory))
}

/** Programs of the administrator are outside of the PATH of others, and may be run by them all the same. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

/** A plugin of nbdkit's packages, as Debian has them in a folder for the machine's kind. */
export function nbdkitPlugin(name: string): string {
  return join(nbdkitPlugins, `nbdkit-${name}-plugin.so`)
}

const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch
export const nbdkitPlugins = `/usr/lib/${machine}-linux-gnu/nbdkit/plugins`

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
