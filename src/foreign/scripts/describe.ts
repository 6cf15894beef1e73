/** The description of a script plugin for `--dump-plugin`. */
import type { Description } from '../../api/plugin.js'
import { dumpedBy, magicKeyOf, threadModelOf } from '../methods/instance.js'
import { type Methods, methodNames } from '../methods/methods.js'
import { maxKnownStatus } from './script-methods.js'

export const scriptLines: readonly string[] = ['api_version=2', `max_known_status=${maxKnownStatus}`]

/** A script may have any method. `config` and `magic_config_key` are reported elsewhere. */
const notCallbacks: ReadonlySet<string> = new Set(['config', 'magic_config_key', 'open', 'get_size', 'pread'])
export const scriptCallbacks = ['load', ...methodNames.filter((name) => !notCallbacks.has(name))]

/** `magic` is the key of the first bare word. It is used where the scripts name no magic key. */
export async function describeScripts(methods: Methods, magic?: string): Promise<Description> {
  const magicKey = (await magicKeyOf(methods)) ?? magic
  const concurrency = await threadModelOf(methods)
  return {
    concurrency,
    ...(magicKey === undefined ? {} : { magicKey }),
    lines: await dumpedBy(methods),
  }
}
