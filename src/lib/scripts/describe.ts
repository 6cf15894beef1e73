/** What `--dump-plugin` prints of a plugin that is a script. */
import type { Description } from '../../api/plugin.js'
import { dumpedBy, magicKeyOf, threadModelOf } from '../methods/instance.js'
import { type Methods, methodNames } from '../methods/methods.js'
import { maxKnownStatus } from './script-methods.js'

export const knownStatusLine = `max_known_status=${maxKnownStatus}`

/** A script may have any of them. `config` and `magic_config_key` are said otherwise. */
const notCallbacks: ReadonlySet<string> = new Set(['config', 'magic_config_key', 'open', 'get_size', 'pread'])
export const scriptCallbacks = methodNames.filter((name) => !notCallbacks.has(name))

export async function describeScripts(methods: Methods): Promise<Description> {
  const magicKey = await magicKeyOf(methods)
  const concurrency = await threadModelOf(methods)
  return {
    concurrency,
    ...(magicKey === undefined ? {} : { magicKey }),
    lines: await dumpedBy(methods),
  }
}
