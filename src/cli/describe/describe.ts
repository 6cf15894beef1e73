/** The description of a plugin that depends on its parameters, such as a script or a shared object. */
import { type Params, resolveValues } from '../../api/params.js'
import type { Description, PluginDefinition } from '../../api/plugin.js'
import { inProcess } from '../../api/process-context.js'
import { configure } from '../../chain/configure.js'
import { noServer } from '../../chain/setup.js'
import { messageLog } from '../../lib/message-log.js'
import type { Found } from '../modules/modules.js'
import type { Settings } from '../options/settings.js'
import { complain } from '../output/output.js'

/**
 * Describes a plugin. Returns undefined where its definition says everything: it has no `describe`, or a
 * required parameter is missing.
 *
 * @throws ConfigError as a server would.
 */
export async function describePlugin(
  found: Found<PluginDefinition>,
  words: readonly string[],
  { verbose, debugFlags, readOnly }: Settings,
): Promise<Description | undefined> {
  const { definition } = found
  const { describe } = definition.commandLine ?? {}
  if (describe === undefined) return undefined
  const { inputs } = configure(definition, [], [...found.words, ...words]).plugin
  if (isIncomplete(definition.params, inputs)) return undefined
  const values = resolveValues(definition.name, definition.params, inputs)
  const log = messageLog(verbose, complain).child(definition.name)
  return describe(values, inProcess({ ...noServer, log, readOnly }, { debugFlags }))
}

function isIncomplete(params: Params, inputs: Readonly<Record<string, unknown>>): boolean {
  return Object.entries(params).some(
    ([name, { required }]) => required === true && inputs[name] === undefined,
  )
}
