/** What `--dump-plugin` prints of a plugin that is a script. */
import type { Description } from '../../api/plugin.js'
import { dumpedBy, magicKeyOf, threadModelOf } from '../methods/instance.js'
import type { Methods } from '../methods/methods.js'
import { maxKnownStatus } from './script-methods.js'

export const knownStatusLine = `max_known_status=${maxKnownStatus}`

export async function describeScripts(methods: Methods): Promise<Description> {
  const magicKey = await magicKeyOf(methods)
  const concurrency = await threadModelOf(methods)
  return {
    concurrency,
    ...(magicKey === undefined ? {} : { magicKey }),
    lines: await dumpedBy(methods),
  }
}
