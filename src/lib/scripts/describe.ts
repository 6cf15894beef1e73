/** What `--dump-plugin` prints of a plugin that is a script. */
import type { Description } from '../../api/plugin.js'
import { configureBy, magicKeyOf, threadModelOf } from '../methods/instance.js'
import { type Methods, textOf } from '../methods/methods.js'
import { maxKnownStatus } from './script-methods.js'

export const knownStatusLine = `max_known_status=${maxKnownStatus}`

export async function describeScripts(methods: Methods): Promise<Description> {
  const magicKey = await magicKeyOf(methods)
  const concurrency = await threadModelOf(methods)
  const { output } = await configureBy(methods, 'dump_plugin')
  const printed = textOf(output).trimEnd()
  return {
    concurrency,
    ...(magicKey === undefined ? {} : { magicKey }),
    lines: [knownStatusLine, ...(printed === '' ? [] : [printed])],
  }
}
