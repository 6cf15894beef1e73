/** The plugins and filters that come with nbdkit-ts. A module is a folder with a source of the same name. */
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const source = join(dirname(dirname(fileURLToPath(import.meta.url))), 'src')

/**
 * @param {'plugin' | 'filter'} kind
 * @returns {string[]} Names, sorted.
 */
export function moduleNames(kind) {
  const folder = join(source, `${kind}s`)
  return readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, `${name}.ts`)))
    .sort()
}
