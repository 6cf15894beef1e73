import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigError } from '../../api/errors.js'
import { param, type Setting } from '../../api/params.js'
import { definePlugin, type ServerContext } from '../../api/plugin.js'
import { describeHosted, hosted } from '../../foreign/coprocess/host.js'

/** A plugin written in Python, as for nbdkit-python-plugin(3). */
export default definePlugin({
  name: 'python',
  description: 'a plugin in Python',
  commandLine: {
    /** Read without a script by programs that look for a suitable Python. */
    get lines() {
      return interpreterLines()
    },
    describe: (values, server) => describeHosted(hostOf(values, server)),
  },
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
  setup: (values, server) => hosted(hostOf(values, server)),
})

interface PythonValues {
  readonly script: string
  readonly python: string
  readonly restart: boolean
  readonly settings: readonly Setting[]
}

/** Information about the interpreter itself; only constants where there is none. */
function interpreterLines(): readonly string[] {
  const code = 'import sys; print("%d.%d.%d" % sys.version_info[:3])'
  const { stdout, status } = spawnSync('python3', ['-c', code], { encoding: 'utf8' })
  const version = status === 0 ? [`python_version=${stdout.trim()}`] : []
  const model = 'thread_model=serialize_all_requests'
  return [
    'api_version=2',
    model,
    'errno_is_preserved=0',
    ...version,
    'python_pep_384_abi_version=3',
    'nbdkit_python_maximum_api_version=2',
  ]
}

/** The host is Python and is shipped unchanged, beside this module's source. */
const hostFile = fileURLToPath(new URL('../../../../src/plugins/python/host/host.py', import.meta.url))

function hostOf({ script, python, restart, settings }: PythonValues, server: ServerContext) {
  const file = resolve(script)
  if (!existsSync(file)) throw new ConfigError(`python: ${script}: there is no such file`)
  if (!statSync(file).isFile()) throw new ConfigError(`python: ${script}: it is not a file`)
  const endsEarly = `is "${python}" Python 3.8 or later?`
  const host = { name: script, command: python, args: [hostFile], file, debugFlags: [], endsEarly }
  return { ...host, settings, server, restart }
}
