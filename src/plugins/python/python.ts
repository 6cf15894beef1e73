import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigError } from '../../api/errors.js'
import { param, type Setting } from '../../api/params.js'
import { definePlugin, type ServerContext } from '../../api/plugin.js'
import { describeHosted, hosted } from '../../lib/coprocess/host.js'

/** A plugin written in Python, for nbdkit-python-plugin(3). */
export default definePlugin({
  name: 'python',
  description: 'a plugin in Python',
  params: {
    script: param.string({ required: true, magic: true, doc: 'The plugin: a file of Python 3.' }),
    python: param.string({ default: 'python3', doc: 'The interpreter that runs it.' }),
    restart: param.boolean({
      default: false,
      doc: 'When the interpreter has died, start another for the next client.',
    }),
    settings: param.settings({
      keys: ['KEY'],
      default: [],
      doc: 'Given to the function "config" of the plugin.',
    }),
  },
  describe: (values, server) => describeHosted(hostOf(values, server)),
  setup: (values, server) => hosted(hostOf(values, server)),
})

interface PythonValues {
  readonly script: string
  readonly python: string
  readonly restart: boolean
  readonly settings: readonly Setting[]
}

/** It is Python: it is shipped as it stands, beside the source of this. */
const hostFile = fileURLToPath(new URL('../../../../src/plugins/python/host/host.py', import.meta.url))

function hostOf({ script, python, restart, settings }: PythonValues, server: ServerContext) {
  const file = resolve(script)
  if (!existsSync(file) || !statSync(file).isFile())
    throw new ConfigError(`python: ${script}: there is no such file`)
  return { name: script, command: python, args: [hostFile], file, settings, debugFlags: [], server, restart }
}
