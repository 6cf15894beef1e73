import { ConfigError } from '../../api/errors.js'
import { type Param, param } from '../../api/params.js'
import { definePlugin, type ServerContext } from '../../api/plugin.js'
import { giveSettings, instanceOf, magicKeyOf, threadModelOf } from '../../foreign/methods/instance.js'
import { methodNames } from '../../foreign/methods/methods.js'
import { describeScripts, scriptCallbacks, scriptLines } from '../../foreign/scripts/describe.js'
import { ScriptMethods } from '../../foreign/scripts/script-methods.js'
import { temporaryDirectory } from '../../os/temporary-directory.js'

type MethodName = (typeof methodNames)[number]
type Scripts = { readonly [M in MethodName | 'missing']?: string | undefined }

const methodParams = Object.fromEntries(
  methodNames.map((name) => [name, param.string({ doc: `The script for the method "${name}".` })]),
) as Record<MethodName, Param<string>>

/** A script for each method, on the command line (nbdkit-eval-plugin(1)). */
export default definePlugin({
  name: 'eval',
  description: 'scripts on the command line, one for each method',
  commandLine: {
    has: scriptCallbacks,
    lines: scriptLines,
    async describe({ settings: _, ...scripts }, server) {
      const directory = temporaryDirectory('nbdkiteval')
      try {
        return await describeScripts(load(scripts, directory.path, server))
      } finally {
        directory.remove()
      }
    },
  },
  params: {
    ...methodParams,
    missing: param.string({ doc: 'The script for all methods that none is given for.' }),
    settings: param.settings({ keys: ['KEY'], default: [], doc: 'Given to the script "config".' }),
  },

  async setup({ settings, ...scripts }, server) {
    const directory = temporaryDirectory('nbdkiteval')
    try {
      const methods = load(scripts, directory.path, server)
      await giveSettings(methods, settings, () => magicKeyOf(methods))
      // `pread` is not required, as in nbdkit: clients can connect, and their reads fail.
      if (scripts.missing === undefined && scripts.get_size === undefined)
        throw new ConfigError('eval: get_size=SCRIPT is required')
      return instanceOf({
        methods,
        concurrency: await threadModelOf(methods),
        readOnly: server.readOnly,
        end: async () => directory.remove(),
      })
    } catch (error) {
      directory.remove()
      throw error
    }
  },
})

/** The shell gets each script unchanged. `$1` is the method, and the method's words follow. */
function load(scripts: Scripts, directory: string, server: ServerContext): ScriptMethods {
  const given = methodNames.filter((name) => scripts[name] !== undefined)
  const { missing } = scripts
  return new ScriptMethods({
    name: 'eval',
    directory,
    server,
    // With `missing`, that script may answer any method, so only a call tells which exist.
    ...(missing === undefined ? { known: new Set<string>(given) } : {}),
    commandOf(method) {
      const script = scripts[method as MethodName] ?? missing
      return script === undefined ? undefined : { file: '/bin/sh', args: ['-c', script, method] }
    },
  })
}
