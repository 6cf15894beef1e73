import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { ConfigError } from '../../api/errors.js'
import { param, type Setting } from '../../api/params.js'
import { definePlugin, type ServerContext } from '../../api/plugin.js'
import { processOf } from '../../api/process-context.js'
import { describeHosted, hosted } from '../../foreign/coprocess/host.js'
import { hostProgram } from './host-program.js'

/** A plugin compiled for the C nbdkit (nbdkit-plugin(3)), in its own process. */
export default definePlugin({
  name: 'native',
  description: 'a plugin that was compiled for nbdkit: C, C++, Rust, OCaml, Go',
  commandLine: {
    takesDebugFlags: true,
    async describe(values, server) {
      const host = await hostOf(values, server)
      const described = await describeHosted(host)
      return { ...described, lines: [`path=${host.file}`, ...described.lines] }
    },
  },
  params: {
    plugin: param.string({ required: true, magic: true, doc: 'The plugin: a shared object.' }),
    restart: param.boolean({
      default: false,
      doc: 'When the process of the plugin has died, start another for the next client.',
    }),
    settings: param.settings({ keys: ['KEY'], default: [], doc: 'Given to the plugin.' }),
  },
  setup: async (values, server) => hosted(await hostOf(values, server)),
})

interface NativeValues {
  readonly plugin: string
  readonly restart: boolean
  readonly settings: readonly Setting[]
}

async function hostOf({ plugin, restart, settings }: NativeValues, server: ServerContext) {
  const file = resolve(plugin)
  if (!existsSync(file)) throw new ConfigError(`native: ${plugin}: there is no such file`)
  if (!statSync(file).isFile()) throw new ConfigError(`native: ${plugin}: it is not a file`)
  const command = await hostProgram(process.platform, server.log)
  // Flags for nbdkit's own server do not apply here.
  const debugFlags = processOf(server).debugFlags.filter((flag) => !flag.startsWith('nbdkit.'))
  const endsEarly = 'where the file is cut off, or for another system, copy or compile it again'
  return { name: plugin, command, args: [], file, settings, debugFlags, server, restart, endsEarly }
}
